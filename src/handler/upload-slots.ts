import { Readable } from 'node:stream';
import type { Exchange } from '../contract/exchange.js';
import type { OpenFiles } from '../page-cache/open-files.js';
import { PeerShares, type Peers, peersOf } from './peer-shares.js';
import { SharedPlaces } from './shared-places.js';

/**
 * Limits the number of uploads that a store processes at once, each of which counts as one open descriptor. Half of the
 * descriptors remain for downloads. An upload gets its slot when its first bytes have arrived.
 */
export class UploadSlots {
  readonly #openFiles: OpenFiles;
  readonly #slots: SharedPlaces;
  /** Uploads that the store has received without a body, so that it can refuse them before their clients send one. */
  readonly #expecting: PeerShares;

  constructor(openFiles: OpenFiles) {
    this.#openFiles = openFiles;
    const shareOfFiles = (divisor: number) => () => Math.max(1, Math.floor(openFiles.maxOpenFiles / divisor));
    this.#slots = new SharedPlaces(shareOfFiles(2), 'slot for an upload (half of maxOpenFiles)');
    this.#expecting = new PeerShares(shareOfFiles(4));
  }

  /**
   * Runs `upload` with a slot, once the first bytes of `body` have arrived. For a request with `Expect: 100-continue`, runs `upload`
   * before that if not too many uploads wait like this: the store may refuse the upload before the client sends the body.
   *
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` if no slot becomes free within five seconds
   */
  async run<T>(exchange: Exchange, body: Readable, upload: (body: Readable) => Promise<T>): Promise<T> {
    const peers = peersOf(exchange);
    if (exchange.headers.expect !== undefined && this.#expecting.hasRoomFor(peers)) {
      return this.#runExpecting(exchange, peers, body, upload);
    }
    await firstBytes(body);
    if (body.errored !== null) throw body.errored;
    await this.#acquire(exchange, peers);
    try {
      return await upload(body);
    } finally {
      this.#release(peers);
    }
  }

  async #runExpecting<T>(
    exchange: Exchange,
    peers: Peers,
    body: Readable,
    upload: (body: Readable) => Promise<T>,
  ): Promise<T> {
    this.#expecting.take(peers);
    let state: 'expecting' | 'waiting' | 'running' | 'over' = 'expecting';
    const end = (): void => {
      if (state === 'expecting') this.#expecting.release(peers);
      if (state === 'running') this.#release(peers);
      state = 'over';
    };
    const begin = async (): Promise<void> => {
      if (state !== 'expecting') return;
      this.#expecting.release(peers);
      state = 'waiting';
      await this.#acquire(exchange, peers);
      // The store may have ended the upload in the meantime.
      if (state === 'waiting') state = 'running';
      else this.#release(peers);
    };
    // A store that has stopped reading may have removed its listener for errors.
    const delayed = Readable.from(afterFirst(body, begin), { objectMode: false }).on('error', ignore);
    try {
      return await upload(delayed);
    } finally {
      end();
      delayed.destroy();
    }
  }

  async #acquire(exchange: Exchange, peers: Peers): Promise<void> {
    await this.#slots.take(exchange, peers);
    try {
      await this.#openFiles.reserve();
    } catch (error) {
      this.#slots.release(peers);
      throw error;
    }
  }

  #release(peers: Peers): void {
    this.#openFiles.unreserve();
    this.#slots.release(peers);
  }
}

/** Yields the chunks of `body`. Calls `begin`, and waits for it, when the first one has arrived or the body has ended. */
async function* afterFirst(body: Readable, begin: () => Promise<void>): AsyncGenerator<Uint8Array> {
  const chunks: AsyncIterator<Uint8Array> = body[Symbol.asyncIterator]();
  try {
    let next = await chunks.next();
    await begin();
    for (; next.done !== true; next = await chunks.next()) yield next.value;
  } finally {
    await chunks.return?.();
  }
}

/**
 * Resolves when bytes of `body` can be read, or when it has ended or failed. Until then, an upload needs no descriptor.
 */
function firstBytes(body: Readable): Promise<void> {
  if (body.readableLength > 0 || body.readableEnded || body.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const end = (): void => {
      for (const event of FIRST_EVENTS) body.off(event, end);
      resolve();
    };
    for (const event of FIRST_EVENTS) body.once(event, end);
    body.read(0);
  });
}

const FIRST_EVENTS = ['readable', 'end', 'error', 'close'] as const;

function ignore(): void {}

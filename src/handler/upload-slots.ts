import { Readable } from 'node:stream';
import { HotblobError } from '../contract/errors.js';
import { clientGoneError, type Exchange } from '../contract/exchange.js';
import type { OpenFiles } from '../page-cache/open-files.js';
import { PeerShares, type Peers, peersOf } from './peer-shares.js';

/** Time for which an upload waits for a slot. */
const MAX_WAIT_MS = 5000;

interface Waiter {
  readonly peers: Peers;
  readonly admit: () => void;
}

/**
 * Limits the number of uploads that a store processes at once, each of which counts as one open descriptor. Half of the
 * descriptors remain for downloads. An upload gets its slot when its first bytes have arrived.
 */
export class UploadSlots {
  readonly #openFiles: OpenFiles;
  readonly #slots: PeerShares;
  /** Uploads that the store has received without a body, so that it can refuse them before their clients send one. */
  readonly #expecting: PeerShares;
  readonly #waiting = new Set<Waiter>();

  constructor(openFiles: OpenFiles) {
    this.#openFiles = openFiles;
    const shareOfFiles = (divisor: number) => () => Math.max(1, Math.floor(openFiles.maxOpenFiles / divisor));
    this.#slots = new PeerShares(shareOfFiles(2));
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
    if (this.#slots.hasRoomFor(peers)) this.#slots.take(peers);
    else await this.#wait(exchange, peers);
    try {
      await this.#openFiles.reserve();
    } catch (error) {
      this.#releaseSlot(peers);
      throw error;
    }
  }

  #release(peers: Peers): void {
    this.#openFiles.unreserve();
    this.#releaseSlot(peers);
  }

  #releaseSlot(peers: Peers): void {
    this.#slots.release(peers);
    for (const waiter of this.#waiting) {
      if (this.#slots.used >= this.#slots.max) return;
      if (this.#slots.hasRoomFor(waiter.peers)) waiter.admit();
    }
  }

  #wait(exchange: Exchange, peers: Peers): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer);
        offClose();
        this.#waiting.delete(waiter);
      };
      const fail = (error: HotblobError): void => {
        end();
        reject(error);
      };
      const onTimeout = (): void => {
        const { used, max } = this.#slots;
        const message = `no slot for an upload within ${MAX_WAIT_MS} ms: ${used} of ${max} are in use, ${this.#slots.heldBy(peers)} of them by this client (half of maxOpenFiles)`;
        fail(new HotblobError('ERR_HOTBLOB_OVERLOADED', message));
      };
      const admit = (): void => {
        end();
        this.#slots.take(peers);
        resolve();
      };
      const waiter: Waiter = { peers, admit };
      this.#waiting.add(waiter);
      const timer = setTimeout(onTimeout, MAX_WAIT_MS);
      const offClose = exchange.onClose(() => fail(clientGoneError()));
    });
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

import { isLoopbackAddress } from '../access/hosts.js';
import { HotblobError } from '../contract/errors.js';
import { clientGoneError, type Exchange } from '../contract/exchange.js';
import type { OpenFiles } from '../page-cache/open-files.js';

/** Time for which an upload waits for a slot. */
const MAX_WAIT_MS = 5000;

/** Connection or address of a client. */
type Peer = object | string;

interface Waiter {
  readonly peers: readonly Peer[];
  readonly admit: () => void;
}

/**
 * Limits the number of uploads that a store processes at once, each of which counts as one open descriptor. Half of the
 * descriptors remain for downloads. A connection gets no further slot while it has as many as are free, and neither does a
 * client address with all its connections.
 */
export class UploadSlots {
  readonly #openFiles: OpenFiles;
  readonly #held = new Map<Peer, number>();
  readonly #waiting = new Set<Waiter>();
  #used = 0;

  constructor(openFiles: OpenFiles) {
    this.#openFiles = openFiles;
  }

  get #max(): number {
    return Math.max(1, Math.floor(this.#openFiles.maxOpenFiles / 2));
  }

  /**
   * Runs `upload` with a slot.
   *
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` if no slot becomes free within five seconds
   */
  async run<T>(exchange: Exchange, upload: () => Promise<T>): Promise<T> {
    const peers = peersOf(exchange);
    if (this.#hasSlot(peers)) this.#take(peers);
    else await this.#wait(exchange, peers);
    try {
      await this.#openFiles.reserve();
      try {
        return await upload();
      } finally {
        this.#openFiles.unreserve();
      }
    } finally {
      this.#release(peers);
    }
  }

  #hasSlot(peers: readonly Peer[]): boolean {
    return this.#heldBy(peers) < this.#max - this.#used;
  }

  #heldBy(peers: readonly Peer[]): number {
    return Math.max(...peers.map((peer) => this.#held.get(peer) ?? 0));
  }

  #take(peers: readonly Peer[]): void {
    this.#used++;
    for (const peer of peers) this.#held.set(peer, (this.#held.get(peer) ?? 0) + 1);
  }

  #release(peers: readonly Peer[]): void {
    this.#used--;
    for (const peer of peers) {
      const held = (this.#held.get(peer) ?? 0) - 1;
      if (held > 0) this.#held.set(peer, held);
      else this.#held.delete(peer);
    }
    for (const waiter of this.#waiting) if (this.#hasSlot(waiter.peers)) waiter.admit();
  }

  #wait(exchange: Exchange, peers: readonly Peer[]): Promise<void> {
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
        const message = `no slot for an upload within ${MAX_WAIT_MS} ms: ${this.#used} of ${this.#max} are in use, ${this.#heldBy(peers)} of them by this client (half of maxOpenFiles)`;
        fail(new HotblobError('ERR_HOTBLOB_OVERLOADED', message));
      };
      const admit = (): void => {
        end();
        this.#take(peers);
        resolve();
      };
      const waiter: Waiter = { peers, admit };
      this.#waiting.add(waiter);
      const timer = setTimeout(onTimeout, MAX_WAIT_MS);
      const offClose = exchange.onClose(() => fail(clientGoneError()));
    });
  }
}

/** Returns the connection of a client, and its address. A proxy on this machine has the same address for all clients. */
function peersOf({ connection, remoteAddress }: Exchange): readonly Peer[] {
  return remoteAddress === undefined || isLoopbackAddress(remoteAddress) ? [connection] : [connection, remoteAddress];
}

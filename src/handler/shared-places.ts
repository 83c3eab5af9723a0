import { HotblobError } from '../contract/errors.js';
import { clientGoneError, type Exchange } from '../contract/exchange.js';
import { PeerShares, type Peers } from './peer-shares.js';

/** Time for which a request waits for a place. */
const MAX_WAIT_MS = 5000;

interface Waiter {
  readonly peers: Peers;
  readonly admit: () => void;
}

/** A number of places that clients share as in {@link PeerShares}. A request for which there is no place waits for one. */
export class SharedPlaces {
  readonly #shares: PeerShares;
  readonly #waiting = new Set<Waiter>();
  readonly #name: string;

  /**
   * @param max returns the number of places at the moment
   * @param name what a place is for, as in 'a slot for an upload'
   */
  constructor(max: () => number, name: string) {
    this.#shares = new PeerShares(max);
    this.#name = name;
  }

  /**
   * Takes a place. Waits if there is none.
   *
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` if no place becomes free within five seconds
   * @throws HotblobError `ERR_HOTBLOB_CLIENT_GONE` if the exchange is closed first
   */
  async take(exchange: Exchange, peers: Peers): Promise<void> {
    if (this.#shares.hasRoomFor(peers)) this.#shares.take(peers);
    else await this.#wait(exchange, peers);
  }

  release(peers: Peers): void {
    this.#shares.release(peers);
    for (const waiter of this.#waiting) {
      if (this.#shares.used >= this.#shares.max) return;
      if (this.#shares.hasRoomFor(waiter.peers)) waiter.admit();
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
        const { used, max } = this.#shares;
        const held = this.#shares.heldBy(peers);
        const message = `no ${this.#name} within ${MAX_WAIT_MS} ms: ${used} of ${max} are in use, ${held} of them by this client`;
        fail(new HotblobError('ERR_HOTBLOB_OVERLOADED', message));
      };
      const admit = (): void => {
        end();
        this.#shares.take(peers);
        resolve();
      };
      const waiter: Waiter = { peers, admit };
      this.#waiting.add(waiter);
      const timer = setTimeout(onTimeout, MAX_WAIT_MS);
      const offClose = exchange.onClose(() => fail(clientGoneError()));
    });
  }
}

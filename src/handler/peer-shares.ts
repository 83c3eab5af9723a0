import { isLoopbackAddress } from '../access/hosts.js';
import type { Exchange } from '../contract/exchange.js';

/** Connection or address of a client. */
type Peer = object | string;

/** Connection of a client, and its address unless all clients of a proxy may have it. */
export type Peers = readonly Peer[];

/**
 * Shares a number of places among clients. A connection gets no further place while it has as many as are free, and neither does a
 * client address with all its connections.
 */
export class PeerShares {
  readonly #max: () => number;
  readonly #held = new Map<Peer, number>();
  #used = 0;

  /** @param max returns the number of places at the moment */
  constructor(max: () => number) {
    this.#max = max;
  }

  get max(): number {
    return this.#max();
  }

  get used(): number {
    return this.#used;
  }

  /** Returns whether a client may take one more place. */
  hasRoomFor(peers: Peers): boolean {
    return this.heldBy(peers) < this.max - this.#used;
  }

  heldBy(peers: Peers): number {
    return Math.max(...peers.map((peer) => this.#held.get(peer) ?? 0));
  }

  take(peers: Peers): void {
    this.#used++;
    for (const peer of peers) this.#held.set(peer, (this.#held.get(peer) ?? 0) + 1);
  }

  release(peers: Peers): void {
    this.#used--;
    for (const peer of peers) {
      const held = (this.#held.get(peer) ?? 0) - 1;
      if (held > 0) this.#held.set(peer, held);
      else this.#held.delete(peer);
    }
  }
}

/** Returns the connection of a client, and its address. A proxy on this machine has the same address for all clients. */
export function peersOf({ connection, remoteAddress }: Exchange): Peers {
  return remoteAddress === undefined || isLoopbackAddress(remoteAddress) ? [connection] : [connection, remoteAddress];
}

import type { Readable } from 'node:stream';

/** Time for which a server has been waiting for the client of a connection, to send or to read bytes. */
export class ClientWait {
  #position = -1;
  #since: number | undefined;

  /**
   * @param isWaiting whether the connection can continue only if its client sends or reads
   * @param position any number that changes when bytes are sent or received
   */
  update(now: number, isWaiting: boolean, position: number): void {
    if (!isWaiting) this.#since = undefined;
    else if (this.#since === undefined || position !== this.#position) this.#since = now;
    this.#position = position;
  }

  /** Returns the time since which the server waits, or `undefined` if bytes have moved since the last update. */
  since(position: number): number | undefined {
    return position === this.#position ? this.#since : undefined;
  }
}

/** Returns whether the application reads a request body of which more must arrive. */
export function awaitsBody(body: Readable): boolean {
  if (body.readableEnded || body.readableLength > 0) return false;
  return body.readableFlowing === true || body.listenerCount('readable') > 0;
}

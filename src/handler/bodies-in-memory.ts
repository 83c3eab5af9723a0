import type { Readable } from 'node:stream';
import type { Exchange } from '../contract/exchange.js';
import { type Peers, peersOf } from './peer-shares.js';
import { SharedPlaces } from './shared-places.js';

/** Size up to which a body needs no place. */
const SMALL_BYTES = 16 * 1024;
/** Maximum number of larger bodies. With the values and the answer that are made of it, a body takes several MiB. */
const MAX_BODIES = 16;

/** Request body in memory. Its place is free after {@link release}, which has no effect if it is called again. */
export interface BodyInMemory {
  readonly bytes: Buffer;
  /** Whether the body has one of the places. */
  readonly isLarge: boolean;
  release(): void;
}

/**
 * Limits the number of request bodies that protocols read into memory at once. Otherwise, thousands of HTTP/2 streams could
 * fill the memory with queries.
 */
export class BodiesInMemory {
  readonly #places = new SharedPlaces(() => MAX_BODIES, 'place for a request body in memory');

  /**
   * Reads a body to its end.
   *
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` if no place becomes free within five seconds
   * @throws the error of the stream
   */
  async read(exchange: Exchange, body: Readable): Promise<BodyInMemory> {
    const chunks: Uint8Array[] = [];
    let byteLength = 0;
    let peers: Peers | undefined;
    const release = (): void => {
      if (peers !== undefined) this.#places.release(peers);
      peers = undefined;
    };
    try {
      for await (const chunk of body as AsyncIterable<Uint8Array>) {
        chunks.push(chunk);
        byteLength += chunk.byteLength;
        if (byteLength > SMALL_BYTES && peers === undefined) {
          const own = peersOf(exchange);
          await this.#places.take(exchange, own);
          peers = own;
        }
      }
    } catch (error) {
      release();
      throw error;
    }
    return { bytes: Buffer.concat(chunks), isLarge: peers !== undefined, release };
  }
}

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** Field of an encoded message. Values of other types than these are skipped, and have no bytes. */
export interface Field {
  readonly number: number;
  /** Encoded message, text or bytes. */
  readonly bytes?: Buffer | undefined;
  /** Value of an integer; inexact above 2^53. */
  readonly integer?: number | undefined;
}

/**
 * Returns the fields of a message in the encoding of Protocol Buffers, in their order.
 *
 * @throws RangeError if the bytes are not a message
 */
export function* fieldsOf(message: Buffer): Generator<Field> {
  const reader = new Reader(message);
  while (!reader.isAtEnd) {
    const tag = reader.varint();
    const number = Math.floor(tag / 8);
    if (number === 0) throw new RangeError('field number 0');
    switch (tag % 8) {
      case VARINT:
        yield { number, integer: reader.varint() };
        break;
      case BYTES:
        yield { number, bytes: reader.take(reader.varint()) };
        break;
      case FIXED64:
        reader.take(8);
        break;
      case FIXED32:
        reader.take(4);
        break;
      default:
        throw new RangeError('unknown wire type');
    }
  }
}

class Reader {
  readonly #bytes: Buffer;
  #position = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#position === this.#bytes.byteLength;
  }

  varint(): number {
    let value = 0;
    // An integer has at most 64 bits, in groups of seven.
    for (let factor = 1; factor < 2 ** 70; factor *= 128) {
      const byte = this.take(1).readUInt8();
      value += (byte % 128) * factor;
      if (byte < 128) return value;
    }
    throw new RangeError('integer of more than 64 bits');
  }

  take(length: number): Buffer {
    const end = this.#position + length;
    if (end > this.#bytes.byteLength) throw new RangeError('message is too short');
    const bytes = this.#bytes.subarray(this.#position, end);
    this.#position = end;
    return bytes;
  }
}

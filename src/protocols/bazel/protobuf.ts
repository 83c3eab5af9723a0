const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** Maximum number of fields that are read of a message. A tree has about seven for each file. */
const MAX_FIELDS = 200_000;

/** Reads a message in the encoding of Protocol Buffers, field by field, without copies. */
export class MessageReader {
  readonly bytes: Buffer;
  /** Position of the next field. */
  position = 0;
  /** Number of the current field. */
  number = 0;
  /** Value of the current field, if it is an integer; inexact above 2^53. */
  integer = 0;
  /** Position at which the current field begins, without its tag and length. The field ends at `position`. */
  start = 0;
  /** Whether the current field is a message, a text or bytes. */
  isBytes = false;
  #fields = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  /**
   * Reads the next field of a message that ends at `end`.
   *
   * @throws RangeError if there is no field, or if 200,000 have been read
   */
  next(end: number): void {
    if (++this.#fields > MAX_FIELDS) throw new RangeError('too many fields');
    const tag = this.#varint(end);
    const type = tag % 8;
    this.number = Math.floor(tag / 8);
    if (this.number === 0) throw new RangeError('field number 0');
    this.isBytes = type === BYTES;
    this.integer = type === VARINT || type === BYTES ? this.#varint(end) : 0;
    this.start = this.position;
    if (type === BYTES) this.position += this.integer;
    else if (type === FIXED64) this.position += 8;
    else if (type === FIXED32) this.position += 4;
    else if (type !== VARINT) throw new RangeError('unknown wire type');
    if (this.position > end) throw new RangeError('message is too short');
  }

  #varint(end: number): number {
    let value = 0;
    // An integer has at most 64 bits, in groups of seven.
    for (let factor = 1; factor < 2 ** 70; factor *= 128) {
      const byte = this.position < end ? this.bytes[this.position++] : undefined;
      if (byte === undefined) throw new RangeError('message is too short');
      value += (byte % 128) * factor;
      if (byte < 128) return value;
    }
    throw new RangeError('integer of more than 64 bits');
  }
}

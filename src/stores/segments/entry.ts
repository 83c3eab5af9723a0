/** Where a body is. An inline one has a place too: with its segment it grows old, and goes. */
export interface Place {
  readonly segment: number;
  /** Bytes from the start of the segment's file; from {@link INLINE_BASE} for a body that is not in the file. */
  readonly offset: number;
}

/** What the index knows of an artifact. */
export interface Entry extends Place {
  /** Bytes of the body. */
  readonly length: number;
  /** When it was put, in milliseconds since 1970. */
  readonly time: number;
  /** The first {@link DIGEST_BYTES} of the body's SHA-256. */
  readonly digest: Uint8Array;
  /** The body itself, where it is small. */
  readonly inline?: Uint8Array | undefined;
  /** What the upload has said about itself, encoded. */
  readonly metadata?: Uint8Array | undefined;
}

/** 128 bits: beyond any accident, and it makes a strong entity tag. */
export const DIGEST_BYTES = 16;
/** No file grows that far. The first inline body of a segment is at one more. */
export const INLINE_BASE = 2 ** 47;

const FORMAT = 1;
const FLAG_INLINE = 1;
/** Behind the header is the length of the metadata, in two bytes, and the metadata. */
const FLAG_METADATA = 2;
const KNOWN_FLAGS = FLAG_INLINE | FLAG_METADATA;
const DIGEST_AT = 24;
const CHECK_AT = DIGEST_AT + DIGEST_BYTES;
const HEADER_BYTES = CHECK_AT + 4;
const PLACE_BYTES = 10;
/** What the trees of the index take for an artifact beyond its key (twice) and its header: pages are two thirds full. */
const TREE_BYTES = 64;

/** What an artifact costs in the index, in bytes. An estimate: nothing smaller than a page is ever given back. */
export function indexBytesOf(key: string, entry: Entry): number {
  const { inline, metadata } = entry;
  return 2 * key.length + HEADER_BYTES + PLACE_BYTES + TREE_BYTES + sizeOf(metadata) + (inline?.byteLength ?? 0);
}

/** An entry as the index keeps it. */
export function encodeEntry(key: string, entry: Entry): Buffer {
  const { inline, metadata } = entry;
  const inlineAt = HEADER_BYTES + sizeOf(metadata);
  const bytes = Buffer.allocUnsafe(inlineAt + (inline?.byteLength ?? 0));
  bytes[0] = FORMAT;
  bytes[1] = (inline === undefined ? 0 : FLAG_INLINE) | (metadata === undefined ? 0 : FLAG_METADATA);
  bytes.writeUInt32LE(entry.segment, 2);
  bytes.writeUIntLE(entry.offset, 6, 6);
  bytes.writeUIntLE(entry.length, 12, 6);
  bytes.writeUIntLE(entry.time, 18, 6);
  bytes.set(entry.digest, DIGEST_AT);
  if (metadata !== undefined) {
    bytes.writeUInt16LE(metadata.byteLength, HEADER_BYTES);
    bytes.set(metadata, HEADER_BYTES + 2);
  }
  if (inline !== undefined) bytes.set(inline, inlineAt);
  bytes.writeUInt32LE(checkOf(key, bytes, bytes.length), CHECK_AT);
  return bytes;
}

/**
 * Reads what {@link encodeEntry} wrote, copying what it keeps; undefined where that is not what is there.
 *
 * @param length how many of the `bytes` count
 */
export function decodeEntry(key: string, bytes: Buffer, length: number): Entry | undefined {
  if (length < HEADER_BYTES || bytes[0] !== FORMAT) return undefined;
  if (bytes.readUInt32LE(CHECK_AT) !== checkOf(key, bytes, length)) return undefined;
  const flags = bytes[1] ?? 0;
  if ((flags & ~KNOWN_FLAGS) !== 0) return undefined;
  const metadata = (flags & FLAG_METADATA) === 0 ? undefined : metadataIn(bytes, length);
  const inlineAt = HEADER_BYTES + sizeOf(metadata);
  return {
    segment: bytes.readUInt32LE(2),
    offset: bytes.readUIntLE(6, 6),
    length: bytes.readUIntLE(12, 6),
    time: bytes.readUIntLE(18, 6),
    digest: copyOf(bytes, DIGEST_AT, CHECK_AT),
    inline: (flags & FLAG_INLINE) === 0 ? undefined : copyOf(bytes, inlineAt, length),
    metadata,
  };
}

function metadataIn(bytes: Buffer, length: number): Buffer {
  const start = HEADER_BYTES + 2;
  return copyOf(bytes, start, Math.min(length, start + bytes.readUInt16LE(HEADER_BYTES)));
}

function sizeOf(metadata: Uint8Array | undefined): number {
  return metadata === undefined ? 0 : 2 + metadata.byteLength;
}

/** A place as a key of the index: places of one segment are neighbours, in order of their offsets. */
export function encodePlace({ segment, offset }: Place): Buffer {
  const bytes = Buffer.allocUnsafe(PLACE_BYTES);
  bytes.writeUInt32BE(segment, 0);
  bytes.writeUIntBE(offset, 4, 6);
  return bytes;
}

/** Reads what {@link encodePlace} wrote. */
export function decodePlace(bytes: Uint8Array): Place {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, PLACE_BYTES);
  return { segment: view.readUInt32BE(0), offset: view.readUIntBE(4, 6) };
}

/** Whether an entry, if there is one, is at `place`. */
export function isAt(entry: Place | undefined, place: Place): boolean {
  return entry !== undefined && entry.segment === place.segment && entry.offset === place.offset;
}

// FNV-1a: a page of the index that went bad must not become a wrong place in a segment. Against accidents only, and it
// takes a fraction of a microsecond, which a cryptographic hash does not.
function checkOf(key: string, bytes: Uint8Array, length: number): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < CHECK_AT; index++) hash = Math.imul(hash ^ (bytes[index] ?? 0), 0x01000193);
  for (let index = HEADER_BYTES; index < length; index++) hash = Math.imul(hash ^ (bytes[index] ?? 0), 0x01000193);
  for (let index = 0; index < key.length; index++) hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
  return hash >>> 0;
}

// Not Buffer.from(bytes.subarray()): the index hands out one buffer again and again, with a length that it changes.
function copyOf(bytes: Uint8Array, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafe(end - start);
  for (let index = start; index < end; index++) copy[index - start] = bytes[index] ?? 0;
  return copy;
}

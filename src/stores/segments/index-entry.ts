import type { Artifact } from '../../contract/artifact.js';

/** Location of a body. An inline body has a location too, because it is evicted together with its segment. */
export interface Location {
  /** Id of the segment. */
  readonly segment: number;
  /** Byte offset in the segment file, or {@link INLINE_BASE} and above for an inline body. */
  readonly offset: number;
}

/** Index entry of an artifact. */
export interface IndexEntry extends Location {
  /** Length of the body in bytes. */
  readonly length: number;
  /** Time of the upload, in milliseconds since the Unix epoch. */
  readonly time: number;
  /** First {@link DIGEST_BYTES} of the body's SHA-256. */
  readonly digest: Uint8Array;
  /** Small body, stored in the index instead of the segment file. */
  readonly inline?: Uint8Array | undefined;
  /** Encoded metadata of the upload. */
  readonly metadata?: Uint8Array | undefined;
  /** Artifact of the entry. {@link ArtifactReader} creates it at the first use. */
  artifact?: Artifact | undefined;
  /** Time of the last use in this process, see `LastUses`, in milliseconds since the Unix epoch. */
  usedAt?: number | undefined;
}

/**
 * Length of a digest: 128 bits. Accidental collisions are practically impossible, so the digest is also a strong entity
 * tag.
 */
export const DIGEST_BYTES = 16;
/**
 * Base of the offsets of inline bodies, which have no offset in a segment file. It exceeds the size of any segment
 * file, so that these numbers differ from real offsets. The first inline body of a segment has the offset `INLINE_BASE`
 * plus one.
 */
export const INLINE_BASE = 2 ** 47;

const FORMAT = 1;
const FLAG_INLINE = 1;
/**
 * Flag of an entry with metadata. Two bytes with the length of the metadata, and the metadata itself, follow the
 * header.
 */
const FLAG_METADATA = 2;
const KNOWN_FLAGS = FLAG_INLINE | FLAG_METADATA;
const DIGEST_OFFSET = 24;
const CHECKSUM_OFFSET = DIGEST_OFFSET + DIGEST_BYTES;
const HEADER_BYTES = CHECKSUM_OFFSET + 4;
const LOCATION_BYTES = 10;

/** Format of LMDB: a leaf holds nodes (header, key, value) and a pointer to each. A value above {@link MAX_NODE_BYTES} has its own pages. */
const PAGE_BYTES = 4096;
const PAGE_HEADER_BYTES = 24;
const NODE_BYTES = 8 + 2;
const MAX_NODE_BYTES = 2038;
const PAGE_NUMBER_BYTES = 8;
/** Part of a page that is in use, at worst: a full page is split into halves, and evictions leave gaps. */
const FILL_RATIO = 0.45;

/**
 * Estimates how many bytes an artifact occupies in the index. Measured with small and large keys, bodies and metadata: the file
 * of the index takes 0.7 to 1.2 times as much.
 */
export function estimateIndexBytes(key: string, { inline, metadata }: Partial<IndexEntry>): number {
  const keyBytes = Buffer.byteLength(key);
  const valueBytes = HEADER_BYTES + metadataFieldBytes(metadata) + (inline?.byteLength ?? 0);
  // The key is stored twice: with the entry and with the location.
  return Math.ceil(estimateRowBytes(keyBytes, valueBytes) + estimateRowBytes(LOCATION_BYTES, keyBytes));
}

function estimateRowBytes(keyBytes: number, valueBytes: number): number {
  let nodeBytes = NODE_BYTES + keyBytes + valueBytes;
  let ownPages = 0;
  if (nodeBytes > MAX_NODE_BYTES) {
    nodeBytes = NODE_BYTES + keyBytes + PAGE_NUMBER_BYTES;
    ownPages = Math.ceil((PAGE_HEADER_BYTES + valueBytes) / PAGE_BYTES);
  }
  const nodesPerPage = Math.floor((PAGE_BYTES - PAGE_HEADER_BYTES) / nodeBytes);
  const leafBytes = PAGE_BYTES / Math.max(1, nodesPerPage * FILL_RATIO);
  // Each page needs a node with a key in the level above, whose pages need further nodes: a geometric series.
  const branchRatio = (NODE_BYTES + keyBytes) / (PAGE_BYTES * FILL_RATIO);
  return ownPages * PAGE_BYTES + leafBytes / (1 - branchRatio);
}

export function encodeEntry(key: string, entry: IndexEntry): Buffer {
  const { inline, metadata } = entry;
  const inlineOffset = HEADER_BYTES + metadataFieldBytes(metadata);
  const bytes = Buffer.allocUnsafe(inlineOffset + (inline?.byteLength ?? 0));
  bytes[0] = FORMAT;
  bytes[1] = (inline === undefined ? 0 : FLAG_INLINE) | (metadata === undefined ? 0 : FLAG_METADATA);
  bytes.writeUInt32LE(entry.segment, 2);
  bytes.writeUIntLE(entry.offset, 6, 6);
  bytes.writeUIntLE(entry.length, 12, 6);
  bytes.writeUIntLE(entry.time, 18, 6);
  bytes.set(entry.digest, DIGEST_OFFSET);
  if (metadata !== undefined) {
    bytes.writeUInt16LE(metadata.byteLength, HEADER_BYTES);
    bytes.set(metadata, HEADER_BYTES + 2);
  }
  if (inline !== undefined) bytes.set(inline, inlineOffset);
  bytes.writeUInt32LE(checksumOf(key, bytes, bytes.length), CHECKSUM_OFFSET);
  return bytes;
}

/**
 * Decodes an entry written by {@link encodeEntry} and copies its bytes. Returns `undefined` if the entry is corrupt or
 * has an unknown format.
 *
 * @param length length of the entry in bytes, which may be less than that of `bytes`
 */
export function decodeEntry(key: string, bytes: Buffer, length: number): IndexEntry | undefined {
  if (length < HEADER_BYTES || bytes[0] !== FORMAT) return undefined;
  if (bytes.readUInt32LE(CHECKSUM_OFFSET) !== checksumOf(key, bytes, length)) return undefined;
  const flags = bytes[1] ?? 0;
  if ((flags & ~KNOWN_FLAGS) !== 0) return undefined;
  const metadata = (flags & FLAG_METADATA) === 0 ? undefined : readMetadata(bytes, length);
  const inlineOffset = HEADER_BYTES + metadataFieldBytes(metadata);
  return {
    segment: bytes.readUInt32LE(2),
    offset: bytes.readUIntLE(6, 6),
    length: bytes.readUIntLE(12, 6),
    time: bytes.readUIntLE(18, 6),
    digest: copyBytes(bytes, DIGEST_OFFSET, CHECKSUM_OFFSET),
    inline: (flags & FLAG_INLINE) === 0 ? undefined : copyBytes(bytes, inlineOffset, length),
    metadata,
    artifact: undefined,
    usedAt: undefined,
  };
}

function readMetadata(bytes: Buffer, length: number): Buffer {
  const start = HEADER_BYTES + 2;
  return copyBytes(bytes, start, Math.min(length, start + bytes.readUInt16LE(HEADER_BYTES)));
}

function metadataFieldBytes(metadata: Uint8Array | undefined): number {
  return metadata === undefined ? 0 : 2 + metadata.byteLength;
}

/** Encodes a location as an index key. The key is big-endian, so that keys are sorted by segment and then by offset. */
export function encodeLocation({ segment, offset }: Location): Buffer {
  const bytes = Buffer.allocUnsafe(LOCATION_BYTES);
  bytes.writeUInt32BE(segment, 0);
  bytes.writeUIntBE(offset, 4, 6);
  return bytes;
}

export function decodeLocation(bytes: Uint8Array): Location {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, LOCATION_BYTES);
  return { segment: view.readUInt32BE(0), offset: view.readUIntBE(4, 6) };
}

/** Returns whether `entry` exists and its body is at `location`. */
export function isAt(entry: Location | undefined, location: Location): boolean {
  return entry !== undefined && entry.segment === location.segment && entry.offset === location.offset;
}

// FNV-1a. The checksum prevents that a corrupt index page yields a wrong location. It has to detect only accidental
// changes, and is much faster than a cryptographic hash.
function checksumOf(key: string, bytes: Uint8Array, length: number): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < CHECKSUM_OFFSET; index++) hash = Math.imul(hash ^ (bytes[index] ?? 0), 0x01000193);
  for (let index = HEADER_BYTES; index < length; index++) hash = Math.imul(hash ^ (bytes[index] ?? 0), 0x01000193);
  for (let index = 0; index < key.length; index++) hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
  return hash >>> 0;
}

// Does not use Buffer.from(bytes.subarray()), because lmdb returns the same buffer from every read and changes its
// `length`.
// Does not use the pool of Buffer either, because a cached entry would keep 8 KiB of it alive.
function copyBytes(bytes: Uint8Array, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(end - start);
  for (let index = start; index < end; index++) copy[index - start] = bytes[index] ?? 0;
  return copy;
}

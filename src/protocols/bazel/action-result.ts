import { fieldsOf } from './protobuf.js';

/** Blobs to which an action result refers, by their hashes. */
export interface ReferencedBlobs {
  /** Hashes of outputs, and of the text on stdout and stderr. */
  readonly files: readonly string[];
  /** Hashes of trees: a tree lists the files of an output directory. */
  readonly trees: readonly string[];
}

/** Path of field numbers from a message to a digest. */
type FieldPath = readonly number[];

// From build/bazel/remote/execution/v2/remote_execution.proto.
const OUTPUT_FILE: FieldPath = [2, 2];
const OUTPUT_DIRECTORY: FieldPath = [3, 3];
const STDOUT: FieldPath = [6];
const STDERR: FieldPath = [8];
const ROOT_FILE: FieldPath = [1, 1, 2];
const CHILD_FILE: FieldPath = [2, 1, 2];

const HASH = /^(?:[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{96}|[0-9a-f]{128})$/;

/**
 * Returns the blobs to which an action result refers: a message in the encoding of Protocol Buffers, as Bazel stores it, or
 * in JSON, as moon stores it. Returns `undefined` if the bytes are neither.
 */
export function blobsOfActionResult(bytes: Buffer): ReferencedBlobs | undefined {
  try {
    // A message cannot begin with a brace: it would be the tag of a group, which action results do not have.
    if (bytes[0] === 0x7b) return { files: digestsInJson(JSON.parse(bytes.toString())), trees: [] };
    return {
      files: [OUTPUT_FILE, STDOUT, STDERR].flatMap((path) => hashesAt(bytes, path)),
      trees: hashesAt(bytes, OUTPUT_DIRECTORY),
    };
  } catch {
    return undefined;
  }
}

/** Returns the hashes of the files in a tree, or `undefined` if the bytes are not a tree. */
export function filesOfTree(bytes: Buffer): readonly string[] | undefined {
  try {
    return [ROOT_FILE, CHILD_FILE].flatMap((path) => hashesAt(bytes, path));
  } catch {
    return undefined;
  }
}

/** Returns the hashes of the digests at a path of fields. @throws RangeError if the bytes are not such a message */
function hashesAt(message: Buffer, [field, ...rest]: FieldPath): string[] {
  if (field === undefined) return hashIn(message);
  const hashes: string[] = [];
  for (const { number, bytes } of fieldsOf(message)) {
    if (number !== field) continue;
    if (bytes === undefined) throw new RangeError(`field ${number}: expected a message`);
    hashes.push(...hashesAt(bytes, rest));
  }
  return hashes;
}

/** Returns the hash of a digest. Bazel does not request the empty blob. */
function hashIn(digest: Buffer): string[] {
  let hash = '';
  let size = 0;
  for (const { number, bytes, integer } of fieldsOf(digest)) {
    if (number === 1) hash = bytes?.toString('latin1') ?? '';
    if (number === 2) size = integer ?? 0;
  }
  if (!HASH.test(hash)) throw new RangeError('digest: expected a hash');
  return size === 0 ? [] : [hash];
}

/** Returns the hashes of all digests in a JSON value: objects with `hash` and `size_bytes`. */
function digestsInJson(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  if ('hash' in value && 'size_bytes' in value && typeof value.hash === 'string' && HASH.test(value.hash)) {
    return Number(value.size_bytes) === 0 ? [] : [value.hash];
  }
  return Object.values(value).flatMap(digestsInJson);
}

import { pause } from '../../util/loop-slices.js';
import { parseJson } from '../parse-json.js';
import { MessageReader } from './protobuf.js';

/** Blobs to which a message refers, by their hashes. */
export interface ReferencedBlobs {
  /** Hashes of files, and of the text on stdout and stderr. */
  readonly files: string[];
  /** Hashes of trees: a tree lists the files of an output directory. */
  readonly trees: string[];
}

/** Fields of a message by their numbers: the messages in them or, for a digest, the kind of its blob. */
interface Fields {
  readonly [number: number]: Fields | keyof ReferencedBlobs;
}

// From build/bazel/remote/execution/v2/remote_execution.proto.
const ACTION_RESULT: Fields = { 2: { 2: 'files' }, 3: { 3: 'trees' }, 6: 'files', 8: 'files' };
const DIRECTORY: Fields = { 1: { 2: 'files' } };
const TREE: Fields = { 1: DIRECTORY, 2: DIRECTORY };

const HASH = /^(?:[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{96}|[0-9a-f]{128})$/;
/** Maximum size of JSON. */
const MAX_JSON_BYTES = 256 * 1024;
/** Number of fields or values between two calls of {@link pause}. */
const STEPS_PER_PAUSE = 256;

/**
 * Resolves to the blobs to which an action result refers: a message in the encoding of Protocol Buffers, as Bazel stores it,
 * or JSON of at most 256 KiB, as moon stores it. Resolves to `undefined` if the bytes are neither.
 */
export async function blobsOfActionResult(bytes: Buffer): Promise<ReferencedBlobs | undefined> {
  // A message cannot begin with a brace: it would be the tag of a group, which action results do not have.
  if (bytes[0] !== 0x7b) return blobsOfMessage(bytes, ACTION_RESULT);
  return bytes.byteLength > MAX_JSON_BYTES ? undefined : blobsOfJson(bytes);
}

/** Resolves to the blobs to which a tree refers, or to `undefined` if the bytes are not a tree. */
export function blobsOfTree(bytes: Buffer): Promise<ReferencedBlobs | undefined> {
  return blobsOfMessage(bytes, TREE);
}

async function blobsOfMessage(bytes: Buffer, fields: Fields): Promise<ReferencedBlobs | undefined> {
  const blobs: ReferencedBlobs = { files: [], trees: [] };
  const reader = new MessageReader(bytes);
  const enclosing: { readonly fields: Fields; readonly end: number }[] = [];
  let current = { fields, end: bytes.byteLength };
  try {
    for (let step = 1; ; step++) {
      if (step % STEPS_PER_PAUSE === 0) await pause();
      while (reader.position === current.end) {
        const outer = enclosing.pop();
        if (outer === undefined) return blobs;
        current = outer;
      }
      reader.next(current.end);
      const field = current.fields[reader.number];
      if (field === undefined) continue;
      if (!reader.isBytes) throw new RangeError(`field ${reader.number}: expected a message`);
      const end = reader.position;
      reader.position = reader.start;
      if (typeof field === 'object') {
        enclosing.push(current);
        current = { fields: field, end };
      } else {
        const hash = readDigest(reader, end);
        if (hash !== undefined) blobs[field].push(hash);
      }
    }
  } catch {
    return undefined;
  }
}

/** Returns the hash of a digest. Returns `undefined` for the empty blob, which Bazel does not request. */
function readDigest(reader: MessageReader, end: number): string | undefined {
  let hash = '';
  let size = 0;
  while (reader.position < end) {
    reader.next(end);
    if (reader.number === 1) hash = reader.bytes.toString('latin1', reader.start, reader.position);
    else if (reader.number === 2) size = reader.integer;
  }
  if (!HASH.test(hash)) throw new RangeError('digest: expected a hash');
  return size === 0 ? undefined : hash;
}

/** Resolves to the blobs of all digests in JSON: objects with `hash` and `size_bytes`. */
async function blobsOfJson(bytes: Buffer): Promise<ReferencedBlobs | undefined> {
  const files: string[] = [];
  const values: unknown[] = [];
  try {
    values.push(await parseJson(bytes));
  } catch {
    return undefined;
  }
  for (let step = 1; values.length > 0; step++) {
    if (step % STEPS_PER_PAUSE === 0) await pause();
    const value = values.pop();
    if (typeof value !== 'object' || value === null) continue;
    if ('hash' in value && 'size_bytes' in value && typeof value.hash === 'string' && HASH.test(value.hash)) {
      if (Number(value.size_bytes) !== 0) files.push(value.hash);
    } else {
      for (const child of Object.values(value)) if (typeof child === 'object') values.push(child);
    }
  }
  return { files, trees: [] };
}

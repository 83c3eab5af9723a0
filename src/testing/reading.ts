import assert from 'node:assert/strict';
import { constants } from 'node:fs';
import { type FileHandle, open, realpath } from 'node:fs/promises';
import { sep } from 'node:path';
import type { Readable } from 'node:stream';
import type { Artifact, ByteRange, FileArtifact, StreamArtifact } from '../contract/artifact.js';
import { errnoCode } from '../contract/errors.js';

const WINDOW_BYTES = 64 * 1024;
/** What tells a handler that the artifact is not there. */
const MISSING = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG', 'ENXIO', 'EISDIR']);

/** An artifact that is being read, as a handler would: windows of it, one after the other. */
export interface Reading {
  readonly artifact: Artifact;
  /** Bytes of the whole artifact; undefined where it does not say. */
  readonly size: number | undefined;
  /** The next bytes; undefined at the end. */
  next(): Promise<Uint8Array | undefined>;
  /** Gives back what it holds, whether it was read to its end or not. */
  close(): Promise<void>;
}

/** Begins to read an artifact; undefined for a file that is not there, which is a miss. */
export async function beginReading(
  artifact: Artifact,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<Reading | undefined> {
  switch (artifact.kind) {
    case 'bytes':
      return new BytesReading(artifact, artifact.bytes, range);
    case 'file':
      return FileReading.open(artifact, range);
    case 'stream':
      return StreamReading.open(artifact, range, signal);
  }
}

class BytesReading implements Reading {
  readonly artifact: Artifact;
  readonly size: number;
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #position: number;

  constructor(artifact: Artifact, bytes: Uint8Array, range: ByteRange | undefined) {
    this.artifact = artifact;
    this.size = bytes.byteLength;
    this.#bytes = bytes;
    this.#position = range?.start ?? 0;
    this.#end = range?.end ?? this.size;
  }

  async next(): Promise<Uint8Array | undefined> {
    const start = this.#position;
    if (start === this.#end) return undefined;
    this.#position = Math.min(this.#end, start + WINDOW_BYTES);
    return Uint8Array.prototype.slice.call(this.#bytes, start, this.#position);
  }

  async close(): Promise<void> {}
}

/** Reads a region of a file through a descriptor of its own, so that it stays with its inode. */
export class FileReading implements Reading {
  readonly artifact: FileArtifact;
  readonly size: number;
  readonly #handle: FileHandle;
  readonly #offset: number;
  readonly #end: number;
  #position: number;

  static async open(artifact: FileArtifact, range: ByteRange | undefined): Promise<FileReading | undefined> {
    let handle: FileHandle;
    try {
      // A FIFO must not wait for its writer.
      handle = await open(artifact.path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    } catch (error) {
      if (MISSING.has(errnoCode(error) ?? '')) return undefined;
      throw error;
    }
    try {
      const stats = await handle.stat();
      if (stats.isFile() && (await isBelowRoot(artifact))) {
        const offset = artifact.offset ?? 0;
        const size = artifact.length ?? stats.size - offset;
        const isInside = size >= 0 && offset + size <= stats.size;
        assert(isInside, `the artifact has ${size} bytes at ${offset}, but its file has ${stats.size}`);
        return new FileReading(artifact, handle, { offset, size, range });
      }
    } catch (error) {
      await handle.close();
      throw error;
    }
    await handle.close();
    return undefined;
  }

  private constructor(
    artifact: FileArtifact,
    handle: FileHandle,
    region: { readonly offset: number; readonly size: number; readonly range: ByteRange | undefined },
  ) {
    const { offset, size, range } = region;
    this.artifact = artifact;
    this.size = size;
    this.#handle = handle;
    this.#offset = offset;
    this.#position = offset + (range?.start ?? 0);
    this.#end = offset + (range?.end ?? size);
  }

  async next(): Promise<Uint8Array | undefined> {
    const length = Math.min(WINDOW_BYTES, this.#end - this.#position);
    if (length === 0) return undefined;
    const bytes = await this.#read(this.#position, length);
    if (bytes.byteLength === 0) throw new Error(`the file ended ${this.#end - this.#position} bytes too early`);
    this.#position += bytes.byteLength;
    return bytes;
  }

  /** What is now where the artifact was, as far as the file goes. */
  async again(): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let position = 0; position < this.size; ) {
      const part = await this.#read(this.#offset + position, Math.min(WINDOW_BYTES, this.size - position));
      if (part.byteLength === 0) break;
      parts.push(part);
      position += part.byteLength;
    }
    return Buffer.concat(parts);
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  async #read(position: number, length: number): Promise<Buffer> {
    const { buffer, bytesRead } = await this.#handle.read(Buffer.allocUnsafe(length), 0, length, position);
    return buffer.subarray(0, bytesRead);
  }
}

class StreamReading implements Reading {
  readonly artifact: Artifact;
  readonly size: number | undefined;
  readonly #stream: Readable;
  readonly #chunks: AsyncIterator<unknown>;

  static async open(
    artifact: StreamArtifact,
    range: ByteRange | undefined,
    signal: AbortSignal,
  ): Promise<StreamReading> {
    const stream = await artifact.open(range, { signal });
    // Not by instanceof: streams of the package readable-stream will do.
    const isReadable = typeof stream?.on === 'function' && Symbol.asyncIterator in stream;
    assert(isReadable, 'open() must answer with a Readable');
    return new StreamReading(artifact, stream);
  }

  private constructor(artifact: StreamArtifact, stream: Readable) {
    this.artifact = artifact;
    this.size = artifact.size;
    this.#stream = stream;
    // Between two chunks nobody listens, and an error without a listener would end the process.
    stream.on('error', () => {});
    this.#chunks = stream[Symbol.asyncIterator]();
  }

  async next(): Promise<Uint8Array | undefined> {
    const { done, value } = await this.#chunks.next();
    if (done) return undefined;
    assert(value instanceof Uint8Array, `a stream must yield bytes, found ${typeof value}`);
    return value;
  }

  async close(): Promise<void> {
    this.#stream.destroy();
  }
}

async function isBelowRoot({ root, path }: FileArtifact): Promise<boolean> {
  if (root === undefined) return true;
  return (await realpath(path)).startsWith(root.endsWith(sep) ? root : root + sep);
}

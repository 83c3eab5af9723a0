import assert from 'node:assert/strict';
import { constants } from 'node:fs';
import { type FileHandle, open, realpath } from 'node:fs/promises';
import { sep } from 'node:path';
import type { Readable } from 'node:stream';
import type { Artifact, ByteRange, FileArtifact, StreamArtifact } from '../contract/artifact.js';
import { isMissing } from '../util/missing-file.js';

const WINDOW_BYTES = 64 * 1024;

/** Reads an artifact as the handler does: window by window. */
export interface ArtifactReader {
  readonly artifact: Artifact;
  /** Size of the whole artifact in bytes; undefined if the artifact does not declare it. */
  readonly size: number | undefined;
  /** Reads the next bytes. Resolves to undefined at the end. */
  next(): Promise<Uint8Array | undefined>;
  /** Closes the file descriptor, or destroys the stream. */
  close(): Promise<void>;
}

/**
 * Opens an artifact for reading. Resolves to undefined if the file of the artifact does not exist, which counts as a
 * miss.
 */
export async function openReader(
  artifact: Artifact,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<ArtifactReader | undefined> {
  switch (artifact.kind) {
    case 'bytes':
      return new BytesReader(artifact, artifact.bytes, range);
    case 'file':
      return FileArtifactReader.open(artifact, range);
    case 'stream':
      return StreamReader.open(artifact, range, signal);
  }
}

class BytesReader implements ArtifactReader {
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

/** Reads a region of a file through its own descriptor, which refers to the same inode even if the file is replaced. */
export class FileArtifactReader implements ArtifactReader {
  readonly artifact: FileArtifact;
  readonly size: number;
  readonly #handle: FileHandle;
  readonly #offset: number;
  readonly #end: number;
  #position: number;

  static async open(artifact: FileArtifact, range: ByteRange | undefined): Promise<FileArtifactReader | undefined> {
    let handle: FileHandle;
    try {
      // Without O_NONBLOCK, open(2) of a FIFO waits for a writer.
      handle = await open(artifact.path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
    try {
      const stats = await handle.stat();
      if (stats.isFile() && (await isBelowRoot(artifact))) {
        const offset = artifact.offset ?? 0;
        const size = artifact.length ?? stats.size - offset;
        const isInside = size >= 0 && offset + size <= stats.size;
        assert(
          isInside,
          `the artifact has ${size} bytes at offset ${offset}, but its file has only ${stats.size} bytes`,
        );
        return new FileArtifactReader(artifact, handle, { offset, size, range });
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
    if (bytes.byteLength === 0)
      throw new Error(`the file is truncated: ${this.#end - this.#position} bytes are missing`);
    this.#position += bytes.byteLength;
    return bytes;
  }

  /** Reads the whole region again through the same descriptor, up to the end of the file. */
  async reread(): Promise<Buffer> {
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

class StreamReader implements ArtifactReader {
  readonly artifact: Artifact;
  readonly size: number | undefined;
  readonly #stream: Readable;
  readonly #chunks: AsyncIterator<unknown>;

  static async open(
    artifact: StreamArtifact,
    range: ByteRange | undefined,
    signal: AbortSignal,
  ): Promise<StreamReader> {
    const stream = await artifact.open(range, { signal });
    // Does not use instanceof, because streams of the package readable-stream are valid too.
    const isReadable = typeof stream?.on === 'function' && Symbol.asyncIterator in stream;
    assert(isReadable, `open() of a stream artifact: expected a Readable, received ${typeof stream}`);
    return new StreamReader(artifact, stream);
  }

  private constructor(artifact: StreamArtifact, stream: Readable) {
    this.artifact = artifact;
    this.size = artifact.size;
    this.#stream = stream;
    // The iterator listens only while next() is pending. An error without a listener would end the process.
    stream.on('error', () => {});
    this.#chunks = stream[Symbol.asyncIterator]();
  }

  async next(): Promise<Uint8Array | undefined> {
    const { done, value } = await this.#chunks.next();
    if (done) return undefined;
    assert(value instanceof Uint8Array, `chunk of a stream artifact: expected a Uint8Array, received ${typeof value}`);
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

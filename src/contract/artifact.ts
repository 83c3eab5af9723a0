import type { Readable } from 'node:stream';

/** Bytes `start` (included) to `end` (excluded) of an artifact. */
export interface ByteRange {
  /** The first byte, from 0. */
  readonly start: number;
  /** The byte behind the last. */
  readonly end: number;
}

/** What every kind of artifact may say about itself. */
export interface ArtifactMetadata {
  /**
   * The entity tag as it stands in the header, quotes included: `"abc"`, or `W/"abc"` for a weak one (RFC 9110, 8.8.3).
   * A file without one gets a strong tag of its inode, size and modification time in nanoseconds.
   */
  readonly etag?: string | undefined;
  /** Default: the file's modification time; none for bytes and streams. */
  readonly lastModified?: Date | undefined;
  /** Default: `application/octet-stream`. */
  readonly contentType?: string | undefined;
  /** How the bytes are coded; they are sent as they are. Default: none. */
  readonly contentEncoding?: string | undefined;
  /** `no-transform` is always added, because bodies are opaque. Default: `no-transform` alone. */
  readonly cacheControl?: string | undefined;
  /** Further response headers; they cannot replace those that frame the body. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/**
 * What an upload says about its artifact, and what comes back with it; names of headers in lower case. What is the default
 * of {@link ArtifactMetadata} need not come back.
 */
export type UploadMetadata = Pick<ArtifactMetadata, 'contentType' | 'contentEncoding' | 'cacheControl' | 'headers'>;

/** An artifact that is in memory. The bytes must not change while they are being sent. */
export interface BytesArtifact extends ArtifactMetadata {
  /** Bytes in memory. */
  readonly kind: 'bytes';
  /** All of them. */
  readonly bytes: Uint8Array;
}

/**
 * A region of a regular file. Opening, descriptors and mappings are the handler's;
 * a file that has vanished by the time it is opened is a miss.
 */
export interface FileArtifact extends ArtifactMetadata {
  /** A file, or a region of one. */
  readonly kind: 'file';
  /** Absolute, or relative to the working directory of the process. */
  readonly path: string;
  /** Where the artifact begins in the file, in bytes. Default: 0. */
  readonly offset?: number | undefined;
  /** How long it is, in bytes. Default: up to the end of the file. */
  readonly length?: number | undefined;
  /**
   * The store's promise that this file is only ever appended to, replaced by rename, or unlinked: never truncated and
   * never rewritten in place. Only then is it mapped: a page of a mapping that is cut off ends the process (SIGBUS).
   * Default: false.
   */
  readonly immutable?: boolean | undefined;
  /** A directory, symlinks resolved: a path that leads out of it, through whatever symlink, is a miss. Default: no check. */
  readonly root?: string | undefined;
}

/** An artifact that only a stream can give, such as one from another cache. */
export interface StreamArtifact extends ArtifactMetadata {
  /** A stream that is opened for each response. */
  readonly kind: 'stream';
  /** Bytes in all. Without it the body is sent without a length, and ranges are not served. */
  readonly size?: number | undefined;
  /** Called at most once a response, after the headers are decided. `range` is undefined for the whole artifact. */
  open(range: ByteRange | undefined, options: { readonly signal: AbortSignal }): Readable | Promise<Readable>;
}

/** What a store hands back, discriminated by `kind`. */
export type Artifact = BytesArtifact | FileArtifact | StreamArtifact;

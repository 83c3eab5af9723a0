import type { Readable } from 'node:stream';

/** Range of the bytes of an artifact, from `start` (inclusive) to `end` (exclusive). */
export interface ByteRange {
  /** Offset of the first byte. The first byte of the artifact has the offset 0. */
  readonly start: number;
  /** Offset after the last byte. */
  readonly end: number;
}

/** Response headers of an artifact, common to all kinds. */
export interface ArtifactMetadata {
  /**
   * Entity tag as it appears in the header, quotes included: `"abc"`, or `W/"abc"` for a weak tag (RFC 9110, section
   * 8.8.3). Default for a file: a strong tag, made from its inode, size, modification time, and `ctime` or, if the file is
   * immutable, creation time. Default otherwise: none.
   */
  readonly etag?: string | undefined;
  /** Value of `Last-Modified`. Default for a file: its modification time. Default otherwise: none. */
  readonly lastModified?: Date | undefined;
  /** Value of `Content-Type`. Default: `application/octet-stream`. */
  readonly contentType?: string | undefined;
  /** Value of `Content-Encoding`. The bytes are sent as they are. Default: none. */
  readonly contentEncoding?: string | undefined;
  /**
   * Value of `Cache-Control`. `no-transform` is always added, because no intermediary may re-encode an artifact (RFC 9111,
   * section 5.2.2.6). Default: the option `cacheControl` of the handler or sender.
   */
  readonly cacheControl?: string | undefined;
  /** Name of the client that uploaded the artifact, for operators. Never sent to clients. Default: none. */
  readonly subject?: string | undefined;
  /** Further response headers, names in lower case. Headers that frame the body, such as `content-length`, are ignored. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/**
 * Headers that a client sends with an upload and that downloads of the artifact repeat, and `subject`, which the handler adds. Names of `headers` are in lower
 * case: `x-artifact-*` and `tuist-checksum-sha256`. The stores of this package refuse others, because a proxy or a browser
 * may obey them. If a value is the default of {@link ArtifactMetadata}, a store may omit the field.
 */
export type UploadMetadata = Pick<
  ArtifactMetadata,
  'contentType' | 'contentEncoding' | 'cacheControl' | 'headers' | 'subject'
>;

/** Artifact in memory. */
export interface BytesArtifact extends ArtifactMetadata {
  /** Discriminates {@link Artifact}. */
  readonly kind: 'bytes';
  /** Bytes of the whole artifact. They must not change while a response sends them. */
  readonly bytes: Uint8Array;
}

/**
 * Artifact that is a regular file or a region of a file. The handler opens, maps and closes the file. A file that no
 * longer exists counts as a miss.
 */
export interface FileArtifact extends ArtifactMetadata {
  /** Discriminates {@link Artifact}. */
  readonly kind: 'file';
  /** Absolute path, or a path relative to the working directory of the process. */
  readonly path: string;
  /** Offset of the artifact in the file, in bytes. Default: 0. */
  readonly offset?: number | undefined;
  /** Length of the artifact in bytes. Default: up to the end of the file. */
  readonly length?: number | undefined;
  /**
   * Whether the store promises that the file is never truncated and never rewritten in place. The file may only be
   * appended to, replaced by rename, or unlinked. The handler maps only such files: if a mapped file is truncated, a
   * read of a page beyond its end ends the process with SIGBUS (mmap(2)). Default: false.
   */
  readonly immutable?: boolean | undefined;
  /**
   * Absolute path of the directory in which the file must be. A path that leads out of the directory, even through a
   * symbolic link, is a miss. The directory itself may be a symbolic link. Default: no check.
   */
  readonly root?: string | undefined;
}

/** Artifact that is available only as a stream, for example from another cache. */
export interface StreamArtifact extends ArtifactMetadata {
  /** Discriminates {@link Artifact}. */
  readonly kind: 'stream';
  /** Length in bytes. Default: unknown; the response then has no `Content-Length`, and ranges are ignored. */
  readonly size?: number | undefined;
  /**
   * Opens the stream. The handler calls it at most once per response, when it has determined the response headers.
   *
   * @param range bytes to return; undefined for the whole artifact
   * @param options `signal` is aborted when the client disconnects
   */
  open(range: ByteRange | undefined, options: { readonly signal: AbortSignal }): Readable | Promise<Readable>;
}

/** Value that a store returns for a hit, discriminated by `kind`. */
export type Artifact = BytesArtifact | FileArtifact | StreamArtifact;

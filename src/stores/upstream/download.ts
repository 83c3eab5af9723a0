import type { Readable } from 'node:stream';
import type { ArtifactMetadata, ByteRange, StreamArtifact } from '../../contract/artifact.js';
import { unexpectedStatus, upstreamError } from './errors.js';
import { metadataOf } from './metadata.js';
import type { UpstreamResponse } from './response.js';
import { ResponseBody } from './response-body.js';

interface DownloadOptions {
  readonly origin: string;
  readonly stallTimeoutMs: number;
  readonly unopenedTimeoutMs: number;
  /** Sends another GET for the same key. */
  sendGet(headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<UpstreamResponse>;
}

/**
 * Returns the response to a GET as an artifact. The response body waits until the artifact is opened, so that a
 * download takes one request. The body is cancelled when a range is opened, when `signal` is aborted because the client
 * got no body (HEAD, 304), or after `unopenedTimeoutMs`. If the artifact is opened after that, another GET is sent.
 */
export function streamArtifactOf(
  options: DownloadOptions,
  response: UpstreamResponse,
  signal: AbortSignal,
): StreamArtifact {
  const metadata = artifactMetadataOf(response);
  const { length: size } = response;
  let waiting: UpstreamResponse | undefined = response;
  const takeResponse = (): UpstreamResponse | undefined => {
    const taken = waiting;
    waiting = undefined;
    clearTimeout(timer);
    signal.removeEventListener('abort', release);
    return taken?.source.destroyed ? undefined : taken;
  };
  const release = (): void => takeResponse()?.cancel();
  const timer = setTimeout(release, options.unopenedTimeoutMs).unref();
  signal.addEventListener('abort', release);
  if (signal.aborted) release();

  return {
    ...metadata,
    kind: 'stream',
    size,
    async open(range, { signal: openSignal }): Promise<Readable> {
      const first = range === undefined ? takeResponse() : release();
      const body = first ? bodyOf(options, first, { start: 0, end: size }) : await requestAgain(range, openSignal);
      const onAbort = (): void => void body.destroy();
      openSignal.addEventListener('abort', onAbort);
      body.once('close', () => openSignal.removeEventListener('abort', onAbort));
      if (openSignal.aborted) onAbort();
      return body;
    },
  };

  async function requestAgain(range: ByteRange | undefined, openSignal: AbortSignal): Promise<ResponseBody> {
    const headers: Record<string, string> = range ? { range: `bytes=${range.start}-${range.end - 1}` } : {};
    const again = await options.sendGet(headers, openSignal);
    try {
      if (again.status !== 200 && !(range && again.status === 206)) {
        throw unexpectedStatus(options.origin, 'GET', again.status);
      }
      assertUnchanged(again);
      // An upstream without range support sends the whole artifact. ResponseBody then emits only the range.
      if (range === undefined || again.status === 200) return bodyOf(options, again, range ?? { start: 0, end: size });
      const expected = `bytes ${range.start}-${range.end - 1}/`;
      const received = again.headers['content-range'] ?? '';
      if (!received.startsWith(expected) || !['*', String(size)].includes(received.slice(expected.length))) {
        throw upstreamError(
          options.origin,
          new Error(`Content-Range: expected ${expected}${size}, received ${received || 'none'}`),
        );
      }
      return bodyOf(options, again, { start: 0, end: range.end - range.start });
    } catch (error) {
      again.cancel();
      throw error;
    }
  }

  /**
   * Throws if the artifact is not the one of the first response, because the caller has already used the metadata of
   * that response.
   */
  function assertUnchanged(again: UpstreamResponse): void {
    const now = artifactMetadataOf(again);
    const isSame =
      now.etag === metadata.etag &&
      now.lastModified?.getTime() === metadata.lastModified?.getTime() &&
      now.contentEncoding === metadata.contentEncoding &&
      (again.status === 206 || again.length === size);
    if (!isSame) throw upstreamError(options.origin, new Error('the artifact has changed since the lookup'));
  }
}

function bodyOf(
  { origin, stallTimeoutMs }: DownloadOptions,
  response: UpstreamResponse,
  { start, end }: { start: number; end: number | undefined },
): ResponseBody {
  return new ResponseBody(response, {
    skip: start,
    length: end === undefined ? undefined : end - start,
    stallTimeoutMs,
    origin,
  });
}

function artifactMetadataOf({ headers }: UpstreamResponse): ArtifactMetadata {
  const modified = new Date(headers['last-modified'] ?? '');
  return {
    etag: headers.etag,
    lastModified: Number.isNaN(modified.getTime()) ? undefined : modified,
    ...metadataOf(headers),
  };
}

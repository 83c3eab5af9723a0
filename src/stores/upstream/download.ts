import type { Readable } from 'node:stream';
import type { ArtifactMetadata, ByteRange, StreamArtifact } from '../../contract/artifact.js';
import { UpstreamBody } from './body.js';
import { upstreamFailed, upstreamRefused } from './errors.js';
import { metadataIn } from './metadata.js';
import type { UpstreamResponse } from './response.js';

/** How a download asks the peer. */
export interface DownloadSource {
  readonly origin: string;
  readonly stallTimeoutMs: number;
  readonly unopenedTimeoutMs: number;
  /** Sends the GET once more. */
  again(headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<UpstreamResponse>;
}

/**
 * The answer to a GET as an artifact. Its body waits to be opened, so that a download takes one request. It is let go
 * when it is not wanted: when somebody asks for a range, when whoever looked it up leaves (a HEAD, a 304), or after
 * a time. Opened afterwards, it is asked for again.
 */
export function artifactOf(source: DownloadSource, response: UpstreamResponse, signal: AbortSignal): StreamArtifact {
  const metadata = metadataOf(response);
  const { length: size } = response;
  let held: UpstreamResponse | undefined = response;
  const take = (): UpstreamResponse | undefined => {
    const taken = held;
    held = undefined;
    clearTimeout(timer);
    signal.removeEventListener('abort', release);
    return taken?.source.destroyed ? undefined : taken;
  };
  const release = (): void => take()?.cancel();
  const timer = setTimeout(release, source.unopenedTimeoutMs).unref();
  signal.addEventListener('abort', release);
  if (signal.aborted) release();

  return {
    ...metadata,
    kind: 'stream',
    size,
    async open(range, options): Promise<Readable> {
      const whole = range === undefined ? take() : release();
      const body = whole ? bodyOf(source, whole, { start: 0, end: size }) : await reopened(range, options.signal);
      const onAbort = (): void => void body.destroy();
      options.signal.addEventListener('abort', onAbort);
      body.once('close', () => options.signal.removeEventListener('abort', onAbort));
      if (options.signal.aborted) onAbort();
      return body;
    },
  };

  async function reopened(range: ByteRange | undefined, until: AbortSignal): Promise<UpstreamBody> {
    const headers: Record<string, string> = range ? { range: `bytes=${range.start}-${range.end - 1}` } : {};
    const answer = await source.again(headers, until);
    try {
      if (answer.status !== 200 && !(range && answer.status === 206)) {
        throw upstreamRefused(source.origin, 'GET', answer.status);
      }
      assertSame(answer);
      // Not every cache knows ranges: of the whole that it sends instead, the rest is left out.
      if (range === undefined || answer.status === 200) return bodyOf(source, answer, range ?? { start: 0, end: size });
      const expected = `bytes ${range.start}-${range.end - 1}/`;
      const found = answer.headers['content-range'] ?? '';
      if (!found.startsWith(expected) || !['*', String(size)].includes(found.slice(expected.length))) {
        throw upstreamFailed(
          source.origin,
          new Error(`expected ${expected}${size}, received ${found || 'no Content-Range'}`),
        );
      }
      return bodyOf(source, answer, { start: 0, end: range.end - range.start });
    } catch (error) {
      answer.cancel();
      throw error;
    }
  }

  /** What has been said about the first answer goes for this one, or else its bytes must not be mixed. */
  function assertSame(answer: UpstreamResponse): void {
    const now = metadataOf(answer);
    const isSame =
      now.etag === metadata.etag &&
      now.lastModified?.getTime() === metadata.lastModified?.getTime() &&
      now.contentEncoding === metadata.contentEncoding &&
      (answer.status === 206 || answer.length === size);
    if (!isSame) throw upstreamFailed(source.origin, new Error('the artifact has changed since it was looked up'));
  }
}

function bodyOf(source: DownloadSource, response: UpstreamResponse, part: { start: number; end: number | undefined }) {
  const { start, end } = part;
  const { origin, stallTimeoutMs } = source;
  return new UpstreamBody(response, {
    skip: start,
    length: end === undefined ? undefined : end - start,
    stallTimeoutMs,
    origin,
  });
}

function metadataOf({ headers }: UpstreamResponse): ArtifactMetadata {
  const modified = new Date(headers['last-modified'] ?? '');
  return {
    etag: headers.etag,
    lastModified: Number.isNaN(modified.getTime()) ? undefined : modified,
    ...metadataIn(headers),
  };
}

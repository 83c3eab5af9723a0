import type { IncomingMessage } from 'node:http';
import { CommandError } from '../command.js';
import { describeError, describeRefusal, type OperatorEndpoint, sendRequest } from '../operator-request.js';
import { isStatsDocument, type StatsDocument } from './stats-document.js';

const TIMEOUT_MS = 10_000;
/** Maximum size of a response body, far above the size of the statistics. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;

/**
 * Requests the statistics of a server. The default of `timeoutMs` is 10,000.
 *
 * @throws CommandError if there is no valid response
 */
export async function requestStats(
  endpoint: OperatorEndpoint,
  signal: AbortSignal,
  timeoutMs = TIMEOUT_MS,
): Promise<StatsDocument> {
  const { url, authorization } = endpoint;
  const timeout = AbortSignal.timeout(timeoutMs);
  const headers = { accept: 'application/json', ...(authorization === undefined ? {} : { authorization }) };
  let response: IncomingMessage;
  let body: string;
  try {
    response = await sendRequest(url, { headers, signal: AbortSignal.any([signal, timeout]) });
    body = await readBody(response);
  } catch (error) {
    if (signal.aborted) throw error;
    const reason = timeout.aborted ? `no response within ${timeoutMs / 1000} seconds` : describeError(error, url);
    throw new CommandError(`${url.origin}: ${reason}`, { cause: error });
  }
  const document = response.statusCode === 200 ? parseJson(body) : undefined;
  if (isStatsDocument(document)) return document;
  throw new CommandError(`${url.origin}: ${describeRefusal(response, endpoint, 'read') ?? describeOther(response)}`);
}

async function readBody(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes > MAX_BODY_BYTES) break; // not a statistics document: parsing it fails
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function describeOther({ statusCode = 0 }: IncomingMessage): string {
  return `${statusCode}: the response has no statistics; is the URL that of a hotblob server of this version?`;
}

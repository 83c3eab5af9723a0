import type { IncomingMessage } from 'node:http';
import { printable } from '../util/printable.js';
import { CommandError } from './command.js';
import { describeError, describeRefusal, type OperatorEndpoint, sendRequest } from './operator-request.js';

/** Time without a byte from the server after which the request fails. The server sends a line every few seconds. */
const IDLE_TIMEOUT_MS = 30_000;
/** Maximum length of a line, far above that of an artifact. */
const MAX_LINE_CHARACTERS = 64 * 1024;
const MAX_MESSAGE_CHARACTERS = 2000;

/** Request for a page whose response has one JSON object per line. */
export interface StreamRequest {
  readonly method: 'GET' | 'POST';
  readonly body?: string | undefined;
  readonly access: 'read' | 'write';
}

/** Line of such a page. Its members are checked where they are used. */
export type StreamLine = Readonly<Record<string, unknown>>;

/**
 * Requests a page and yields its lines. The last one has the member `done`.
 *
 * @throws CommandError if there is no valid response, or if it is incomplete
 */
export async function* requestLines(endpoint: OperatorEndpoint, request: StreamRequest): AsyncGenerator<StreamLine> {
  const { url } = endpoint;
  try {
    for await (const line of linesOf(endpoint, request)) {
      const value = parseLine(line);
      if (typeof value['error'] === 'string') throw new CommandError(printable(value['error']));
      yield value;
      if (value['done'] === true) return;
    }
  } catch (error) {
    const reason = error instanceof CommandError ? error.message : describeError(error, url);
    throw new CommandError(`${url.origin}: ${reason}`, { cause: error });
  }
  throw new CommandError(`${url.origin}: the server ended the response before it was complete; repeat the command`);
}

async function* linesOf(endpoint: OperatorEndpoint, { method, body, access }: StreamRequest): AsyncGenerator<string> {
  const { url, authorization } = endpoint;
  const headers = {
    accept: 'application/x-ndjson',
    ...(authorization === undefined ? {} : { authorization }),
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
  };
  const response = await sendRequest(url, { method, headers, timeout: IDLE_TIMEOUT_MS }, body);
  response.setTimeout(IDLE_TIMEOUT_MS, () => {
    response.destroy(new CommandError(`no data within ${IDLE_TIMEOUT_MS / 1000} seconds`));
  });
  if (response.statusCode !== 200 || response.headers['content-type'] !== 'application/x-ndjson') {
    throw new CommandError(await describeResponse(response, endpoint, access));
  }
  let rest = '';
  for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > MAX_LINE_CHARACTERS) throw new CommandError('the response has a line that is too long');
    // An empty line only says that the server is still working.
    for (const line of lines) if (line !== '') yield line;
  }
}

function parseLine(line: string): StreamLine {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null) return value as StreamLine;
  } catch {
    // reported below
  }
  throw new CommandError('the response is not valid; is the URL that of a hotblob server of this version?');
}

async function describeResponse(
  response: IncomingMessage,
  endpoint: OperatorEndpoint,
  access: 'read' | 'write',
): Promise<string> {
  const { statusCode = 0 } = response;
  const refusal = describeRefusal(response, endpoint, access);
  const message = refusal ?? (await readMessage(response));
  response.destroy();
  if (refusal !== undefined) return refusal;
  if (message !== undefined) return `${statusCode}: ${printable(message)}`;
  return `${statusCode}: the response is not valid; is the URL that of a hotblob server of this version?`;
}

/** Resolves to the member `message` of a JSON body. */
async function readMessage(response: IncomingMessage): Promise<string | undefined> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) {
    text += chunk;
    if (text.length > MAX_MESSAGE_CHARACTERS) return undefined;
  }
  try {
    const { message } = JSON.parse(text) as { readonly message?: unknown };
    return typeof message === 'string' ? message : undefined;
  } catch {
    return undefined;
  }
}

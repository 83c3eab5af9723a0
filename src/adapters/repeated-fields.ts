import type { IncomingHttpHeaders } from 'node:http';

/**
 * Fields that decide what is stored or sent and whose values are lists. node:http joins repeated fields with commas (RFC 9110, section
 * 5.3); node:http2 keeps only the first of some of them.
 */
const LIST_FIELDS = ['if-match', 'if-none-match', 'content-encoding', 'content-digest', 'repr-digest'] as const;

/**
 * Returns the headers of an HTTP/2 request with the values of repeated fields combined. Returns `headers` itself if there are none.
 *
 * @param rawHeaders names and values in turn, as node:http2 passes them with the request
 */
export function withRepeatedFields(headers: IncomingHttpHeaders, rawHeaders: readonly string[]): IncomingHttpHeaders {
  let combined: IncomingHttpHeaders | undefined;
  for (const name of LIST_FIELDS) {
    if (headers[name] === undefined) continue;
    const values = rawHeaders.filter((_value, index) => index % 2 === 1 && rawHeaders[index - 1] === name);
    if (values.length < 2) continue;
    combined ??= { ...headers };
    combined[name] = values.join(', ');
  }
  return combined ?? headers;
}

import type { IncomingMessage } from 'node:http';

/** Name or address, and an optional port (RFC 9110, section 7.2; RFC 3986, section 3.2.2). May be empty. */
const HOST = /^(?:\[[\w.:~!$&'()*+,;=-]+\]|(?:[\w.~!$&'()*+,;=-]|%[\da-f]{2})*)(?::\d*)?$/i;

/** Nearly all requests have the same host. */
let lastValidHost: string | undefined;

/**
 * Whether an HTTP/1.1 request has several Host fields or an invalid one (RFC 9112, section 3.2): a proxy in front may route
 * such a request as one for another host. Node itself rejects only a request without the field.
 */
export function hasInvalidHost({ headers, rawHeaders }: IncomingMessage): boolean {
  const { host } = headers;
  if (host !== undefined && host !== lastValidHost) {
    if (!HOST.test(host)) return true;
    lastValidHost = host;
  }
  let count = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index];
    if (name === 'Host' || name === 'host' || (name?.length === 4 && name.toLowerCase() === 'host')) count++;
  }
  return count > 1;
}

import type { ArtifactDescription, Reply } from './protocol.js';

/** What a PROPFIND tells of a resource. */
export interface DavResource {
  /** An absolute path, percent-encoded (RFC 4918, 8.3). */
  readonly href: string;
  /** Undefined for a collection. */
  readonly artifact?: ArtifactDescription | undefined;
}

/** For whom nobody knows when they were changed: clients take an answer without the property for broken. */
const UNKNOWN_DATE = new Date(0);

/** The answer to a PROPFIND of one resource: 207 with all that is known of it (RFC 4918, 9.1 and 13). */
export function multiStatus({ href, artifact }: DavResource): Reply {
  const properties = [
    element('getlastmodified', text((artifact?.lastModified ?? UNKNOWN_DATE).toUTCString())),
    element('resourcetype', artifact === undefined ? '<D:collection/>' : ''),
  ];
  const { size, etag, metadata } = artifact ?? {};
  if (size !== undefined) properties.push(element('getcontentlength', String(size)));
  if (etag !== undefined) properties.push(element('getetag', text(etag)));
  if (metadata?.contentType !== undefined) properties.push(element('getcontenttype', text(metadata.contentType)));
  const propstat = element('prop', properties.join('')) + element('status', 'HTTP/1.1 200 OK');
  return xmlReply(207, 'multistatus', element('response', element('href', text(href)) + element('propstat', propstat)));
}

/** 403 for a PROPFIND that would have to list a collection (RFC 4918, 9.1.1). */
export function finiteDepth(): Reply {
  return xmlReply(403, 'error', '<D:propfind-finite-depth/>');
}

function xmlReply(status: number, root: string, content: string): Reply {
  const document = `<?xml version="1.0" encoding="utf-8"?>\n<D:${root} xmlns:D="DAV:">${content}</D:${root}>\n`;
  return { status, body: { contentType: 'application/xml; charset=utf-8', text: document } };
}

/** `content` is markup. */
function element(name: string, content: string): string {
  return `<D:${name}>${content}</D:${name}>`;
}

/** What XML 1.0 cannot hold, escaped or not (2.2). */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are among it
const UNSPEAKABLE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Cs}/gu;

function text(content: string): string {
  return content
    .replace(UNSPEAKABLE, '\ufffd')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;');
}

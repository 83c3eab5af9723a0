import type { ArtifactDescription, Reply } from './protocol.js';

/** Resource that a PROPFIND describes. */
export interface DavResource {
  /** Absolute path, percent-encoded (RFC 4918, section 8.3). */
  readonly href: string;
  /** Description of the artifact; `undefined` for a collection. */
  readonly artifact?: ArtifactDescription | undefined;
}

/** Date that is sent for a resource without a date, because clients reject a response without `getlastmodified`. */
const UNKNOWN_DATE = new Date(0);

/**
 * Returns the 207 response to a PROPFIND of one resource, with all properties that this package supports (RFC 4918, sections 9.1 and 13).
 */
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

/** Returns the 403 response to a PROPFIND that would list a collection (RFC 4918, section 9.1.1). */
export function finiteDepthRequired(): Reply {
  return xmlReply(403, 'error', '<D:propfind-finite-depth/>');
}

function xmlReply(status: number, root: string, content: string): Reply {
  const document = `<?xml version="1.0" encoding="utf-8"?>\n<D:${root} xmlns:D="DAV:">${content}</D:${root}>\n`;
  return { status, body: { contentType: 'application/xml; charset=utf-8', text: document } };
}

/** @param content markup, already escaped */
function element(name: string, content: string): string {
  return `<D:${name}>${content}</D:${name}>`;
}

/** Characters that XML 1.0 does not allow, even if they are escaped (section 2.2). */
// biome-ignore lint/suspicious/noControlCharactersInRegex: XML does not allow most control characters
const DISALLOWED = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Cs}/gu;

function text(content: string): string {
  return content.replace(DISALLOWED, '\ufffd').replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/**
 * Content-Security-Policy of an artifact that a client has stored: a page of it runs no script, has an origin of its own,
 * and loads nothing (CSP Level 3, section 6.3.2).
 */
export const SANDBOX = "sandbox; default-src 'none'";
/** Value of Cross-Origin-Resource-Policy: pages of other origins cannot embed the response. */
export const SAME_ORIGIN = 'same-origin';

/** Headers of responses that are not artifacts. Their bodies are JSON or text: a browser has nothing to load or to run. */
export const REPLY_HEADERS = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': SAME_ORIGIN,
  'x-content-type-options': 'nosniff',
} as const;

export const DEFAULT_TYPE = 'application/octet-stream';

/** RFC 9110, section 8.3.1, without wildcards. A comma would begin a second type, which browsers prefer (Fetch, 3.5). */
const MEDIA_TYPE = /^[\w!#$%&'+.^`|~-]+\/[\w!#$%&'+.^`|~-]+[\t ]*(?:;[^,]*)?$/;
/**
 * Types that a browser runs, renders with scripts, or guesses from the content: HTML, XML, XHTML, SVG, XSLT, JavaScript and
 * other scripts, PDF, Flash, `multipart/x-mixed-replace`, MHTML, `unknown/unknown`. Harmless types with such a word in their
 * names lose nothing but the name.
 */
const ACTIVE = /html|xml|svg|xsl|script|pdf|flash|multipart\/|message\/|unknown/i;

/** Not part of a header value (RFC 9110, section 5.5). */
const UNSENDABLE = /[^\t\x20-\x7e\x80-\xff]/;

let lastType = DEFAULT_TYPE;
let lastInertType = DEFAULT_TYPE;

/** Returns `type`, or `application/octet-stream` for a type that a browser would run or guess. */
export function inertType(type: string): string {
  // A build tool uses one type, so the decision of the last download is usually right for this one.
  if (type === lastType) return lastInertType;
  // A value that cannot be sent in a header fails the response, because it is an error of the store.
  const isKept = (MEDIA_TYPE.test(type) && !ACTIVE.test(type)) || UNSENDABLE.test(type);
  lastInertType = isKept ? type : DEFAULT_TYPE;
  lastType = type;
  return lastInertType;
}

/** Headers with which a response directs a browser, other than those with a prefix of {@link DIRECTIVE_PREFIXES}. */
const DIRECTIVES = new Set([
  ...[
    'alt-svc',
    'clear-site-data',
    'document-policy',
    'link',
    'location',
    'nel',
    'no-vary-search',
    'origin-agent-cluster',
  ],
  ...['permissions-policy', 'refresh', 'referrer-policy', 'report-to', 'reporting-endpoints', 'service-worker-allowed'],
  ...['set-cookie', 'sourcemap', 'speculation-rules', 'strict-transport-security', 'supports-loading-mode'],
  ...[
    'timing-allow-origin',
    'x-content-type-options',
    'x-dns-prefetch-control',
    'x-download-options',
    'x-frame-options',
  ],
  ...['x-permitted-cross-domain-policies', 'x-sourcemap', 'x-xss-protection'],
]);
const DIRECTIVE_PREFIXES = /^(?:access-control-|content-security-policy|cross-origin-)/;

/** Whether a response header (name in lower case) directs a browser, so that a client must not store it for others. */
export function directsBrowser(name: string): boolean {
  return DIRECTIVES.has(name) || DIRECTIVE_PREFIXES.test(name);
}

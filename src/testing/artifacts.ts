import assert from 'node:assert/strict';
import type { Artifact } from '../contract/artifact.js';

/** Matches an entity tag (RFC 9110, section 8.8.3). */
const ENTITY_TAG = /^(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"$/;
/**
 * Matches a header value (RFC 9110, section 5.5). The tab is the only control character allowed. Characters above
 * U+00FF are not allowed, because Node sends Latin-1.
 */
const FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** Matches a header name (RFC 9110, section 5.6.2). */
const FIELD_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** Asserts that `value` has the fields of an artifact. The handler does not check them again. */
export function assertArtifact(value: unknown): asserts value is Artifact {
  assert(typeof value === 'object' && value !== null, `artifact: expected an object, received ${typeof value}`);
  // The cast avoids a type predicate that would repeat every field. Each field is checked below.
  const artifact = value as Artifact;
  switch (artifact.kind) {
    case 'bytes':
      assert(artifact.bytes instanceof Uint8Array, `bytes: expected a Uint8Array, received ${typeof artifact.bytes}`);
      return;
    case 'file':
      assert(
        typeof artifact.path === 'string' && artifact.path !== '',
        `path: expected a non-empty string, received ${String(artifact.path)}`,
      );
      assertByteCount('offset', artifact.offset);
      assertByteCount('length', artifact.length);
      return;
    case 'stream':
      assert(typeof artifact.open === 'function', `open: expected a function, received ${typeof artifact.open}`);
      assertByteCount('size', artifact.size);
      return;
    default:
      assert.fail(`kind: expected 'bytes', 'file' or 'stream', received ${String((value as { kind?: unknown }).kind)}`);
  }
}

/** Asserts that the metadata of an artifact can be sent as response headers. */
export function assertMetadata(artifact: Artifact): void {
  const { etag, lastModified, contentType, contentEncoding, cacheControl, headers } = artifact;
  if (etag !== undefined) assertEntityTag(etag);
  if (lastModified !== undefined) {
    const isDate = lastModified instanceof Date && !Number.isNaN(lastModified.getTime());
    assert(isDate, `lastModified: expected a valid Date, received ${String(lastModified)}`);
  }
  const values = { contentType, contentEncoding, cacheControl, ...headers };
  for (const [name, value] of Object.entries<unknown>(values)) {
    assert(FIELD_NAME.test(name), `'${name}' is not a valid header name (RFC 9110, section 5.6.2)`);
    if (value === undefined) continue;
    assert(
      typeof value === 'string' && FIELD_VALUE.test(value),
      `${name}: expected a valid header value (RFC 9110, section 5.5), received ${JSON.stringify(value)}`,
    );
  }
}

/** Asserts that `etag` is an entity tag as it appears in the header. */
export function assertEntityTag(etag: unknown): void {
  const isTag = typeof etag === 'string' && ENTITY_TAG.test(etag);
  assert(isTag, `etag: expected "..." or W/"...", quotes included, received ${String(etag)}`);
}

function assertByteCount(name: string, value: unknown): void {
  if (value === undefined) return;
  assert(
    Number.isSafeInteger(value) && Number(value) >= 0,
    `${name}: expected a whole number of bytes, 0 or more, received ${String(value)}`,
  );
}

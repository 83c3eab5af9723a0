import assert from 'node:assert/strict';
import type { Artifact } from '../contract/artifact.js';

/** RFC 9110, 8.8.3. */
const ENTITY_TAG = /^(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"$/;
/** RFC 9110, 5.5: a value has no control characters but the tab, and no characters beyond Latin-1 to be sent as bytes. */
const FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** RFC 9110, 5.6.2. */
const FIELD_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** Fails unless `value` has the form of an artifact: the handler trusts it from here on. */
export function assertArtifact(value: unknown): asserts value is Artifact {
  assert(typeof value === 'object' && value !== null, `an artifact must be an object, found ${typeof value}`);
  // A type predicate for the union would have to repeat it field by field; each is looked at below.
  const artifact = value as Artifact;
  switch (artifact.kind) {
    case 'bytes':
      assert(artifact.bytes instanceof Uint8Array, 'the bytes of an artifact must be a Uint8Array');
      return;
    case 'file':
      assert(typeof artifact.path === 'string' && artifact.path !== '', 'a file artifact must have a path');
      assertCount('offset', artifact.offset);
      assertCount('length', artifact.length);
      return;
    case 'stream':
      assert(typeof artifact.open === 'function', 'a stream artifact must have open()');
      assertCount('size', artifact.size);
      return;
    default:
      assert.fail(`the kind of an artifact must be 'bytes', 'file' or 'stream'`);
  }
}

/** Fails unless what an artifact says about itself can be sent as headers. */
export function assertMetadata(artifact: Artifact): void {
  const { etag, lastModified, contentType, contentEncoding, cacheControl, headers } = artifact;
  if (etag !== undefined) assertEntityTag(etag);
  if (lastModified !== undefined) {
    const isDate = lastModified instanceof Date && !Number.isNaN(lastModified.getTime());
    assert(isDate, `lastModified must be a valid Date, found ${String(lastModified)}`);
  }
  const values = { contentType, contentEncoding, cacheControl, ...headers };
  for (const [name, value] of Object.entries<unknown>(values)) {
    assert(FIELD_NAME.test(name), `'${name}' cannot be the name of a header`);
    if (value === undefined) continue;
    assert(typeof value === 'string' && FIELD_VALUE.test(value), `${name} cannot be sent as a header`);
  }
}

/** Fails unless it can stand in the header as it is. */
export function assertEntityTag(etag: unknown): void {
  const isTag = typeof etag === 'string' && ENTITY_TAG.test(etag);
  assert(isTag, `an entity tag is "..." or W/"...", quotes included, found ${String(etag)}`);
}

function assertCount(name: string, value: unknown): void {
  if (value === undefined) return;
  assert(
    Number.isSafeInteger(value) && Number(value) >= 0,
    `${name} must be a number of bytes, found ${String(value)}`,
  );
}

import assert from 'node:assert/strict';
import type { Response } from '../../helpers/client.js';
import { verdictOf } from '../rfc9110.js';
import { resolve, type Version } from './conditions.js';
import { bytesOf, type Key, MAX_UPLOAD_BYTES, type Operation, type PutOperation, selectedBy } from './operations.js';

/** What a store may differ in. */
export interface Traits {
  /** Keys are paths of files: none can be a directory of another, and some file systems do not tell cases apart. */
  readonly isTree: boolean;
}

/** What is under each key; what is unknown of a version is `undefined`. */
export type State = ReadonlyMap<Key, KnownVersion>;
export type KnownVersion = Pick<Version, 'bytes' | 'contentType'> & Partial<Version>;

/** What has come back; undefined for a request that its client has cut off. */
export type Outcome = Response | undefined;

/** Whether an operation looks at its conditions first, and does what they let through at a later moment. */
export function isDecidedFirst(operation: Operation): boolean {
  return operation.do !== 'GET' && operation.do !== 'HEAD' && Object.keys(operation.conditions).length > 0;
}

/** The status that an operation gets where `state` is there, as far as its headers decide. */
export function statusOf(operation: Operation, state: State, earlier?: Version): number {
  // Before anything is looked up.
  if (operation.do === 'PUT' && operation.upload !== 'in chunks' && operation.size > MAX_UPLOAD_BYTES) return 413;
  const version = state.get(operation.key);
  const { headers: _headers, ...facts } = resolve(operation.conditions, wholeOf(version), earlier);
  const length = version?.bytes.byteLength ?? 0;
  const asked = 'range' in operation && operation.range ? selectedBy(operation.range, length) : undefined;
  return verdictOf({
    method: operation.do,
    exists: version !== undefined,
    ...facts,
    range: asked === undefined ? undefined : asked === 'unsatisfiable' ? asked : 'satisfiable',
  });
}

function wholeOf(version: KnownVersion | undefined): Version | undefined {
  if (version === undefined) return undefined;
  const { bytes, contentType, etag = '"not known"', lastModified = new Date(0).toUTCString() } = version;
  return { bytes, contentType, etag, lastModified };
}

/** What an upload comes to whose conditions hold. */
export function uploadStatus(operation: PutOperation, state: State, { isTree }: Traits): number | undefined {
  const { key, upload, size } = operation;
  if (size > MAX_UPLOAD_BYTES) return 413;
  if (upload === 'cut off') return undefined;
  if (upload === 'with another digest') return 400;
  if (isTree && [...state.keys()].some((other) => isInTheWay(other, key))) return 400;
  return 200;
}

function isInTheWay(one: string, other: string): boolean {
  return one !== other && (one.startsWith(`${other}/`) || other.startsWith(`${one}/`));
}

export function stateAfter(operation: Operation, state: State, status: number | undefined): State {
  const next = new Map(state);
  if (operation.do === 'PUT' && status === 200) {
    next.set(operation.key, { bytes: bytesOf(operation), contentType: operation.contentType });
  }
  if (operation.do === 'DELETE' && status === 204) next.delete(operation.key);
  return next;
}

const MESSAGES: Readonly<Record<number, string>> = {
  400: 'The request is not valid.',
  404: 'Not found.',
  412: 'A precondition of the request does not hold.',
  413: 'The upload is too large.',
  416: 'The range cannot be satisfied.',
};

/** Asserts that a response is all that its status promises, where `state` is there. */
export function assertResponse(operation: Operation, state: State, response: Response, status: number): void {
  const { headers, body } = response;
  assert.equal(response.status, status);
  const version = state.get(operation.key);
  if (status >= 400) {
    const message = JSON.stringify({ message: MESSAGES[status] });
    assert.equal(body.toString(), operation.do === 'HEAD' ? '' : `${message}\n`);
    if (status === 416) assert.equal(headers['content-range'], `bytes */${version?.bytes.byteLength}`);
    return;
  }
  if (operation.do === 'PUT' || operation.do === 'DELETE') {
    assert.equal(body.byteLength, 0);
    return;
  }
  if (version === undefined) throw new Error(`${status} for what is not there`);
  if (version.etag !== undefined) assert.equal(headers.etag, version.etag);
  if (version.lastModified !== undefined) assert.equal(headers['last-modified'], version.lastModified);
  if (status === 304) {
    assert.equal(body.byteLength, 0);
    return;
  }
  assert.equal(headers['content-type'], version.contentType);
  const length = version.bytes.byteLength;
  const asked = status === 206 && operation.range ? selectedBy(operation.range, length) : undefined;
  const [start, end] = typeof asked === 'object' ? asked : [0, length];
  assert.equal(headers['content-range'], status === 206 ? `bytes ${start}-${end - 1}/${length}` : undefined);
  assert.equal(headers['content-length'], String(end - start));
  const expected = operation.do === 'HEAD' ? Buffer.alloc(0) : version.bytes.subarray(start, end);
  assert.ok(body.equals(expected), `${body.byteLength} bytes, expected other ${expected.byteLength}`);
}

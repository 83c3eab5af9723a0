import { HotblobError } from '../../contract/errors.js';
import { parseJson } from '../parse-json.js';
import type { ProtocolArtifacts } from '../protocol.js';

/** Maximum size of a JSON body, far above the size that clients send. */
const MAX_JSON_BYTES = 1024 * 1024;

/**
 * Resolves to the request body as a JSON object.
 *
 * @throws HotblobError `ERR_HOTBLOB_TOO_LARGE` for more than 1 MiB, `ERR_HOTBLOB_BAD_REQUEST` if the body is not a JSON
 *   object
 */
export async function jsonBody(artifacts: ProtocolArtifacts): Promise<Readonly<Record<string, unknown>>> {
  const value = await parseJson(await artifacts.readBody(MAX_JSON_BYTES)).catch((cause: unknown) => {
    const reason = cause instanceof RangeError ? `; ${cause.message}` : '';
    throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', `body: expected JSON in UTF-8${reason}`, { cause });
  });
  if (isObject(value)) return value;
  throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', 'body: expected a JSON object');
}

/** Returns whether a JSON value is an object, not an array. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

import { HotblobError } from '../../contract/errors.js';
import type { ProtocolArtifacts } from '../protocol.js';

/** More than any client has to say. */
const MAX_JSON_BYTES = 1024 * 1024;

/**
 * The request's body as JSON, of 1 MiB at most.
 *
 * @throws HotblobError `ERR_HOTBLOB_TOO_LARGE`, `ERR_HOTBLOB_BAD_REQUEST` for anything but an object in JSON
 */
export async function jsonBody(artifacts: ProtocolArtifacts): Promise<Readonly<Record<string, unknown>>> {
  const chunks: Buffer[] = await artifacts.body(MAX_JSON_BYTES).toArray();
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks)));
  } catch (cause) {
    throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', 'the body is no JSON', { cause });
  }
  if (isObject(value)) return value;
  throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', 'the body is no object');
}

/** Whether a value of JSON has members. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

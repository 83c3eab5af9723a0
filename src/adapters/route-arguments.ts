import { HotblobError } from '../contract/errors.js';

/**
 * Checks that a value is a request, or a response, of Node. A caller without types easily imports the functions of another
 * framework.
 *
 * @param expected completes the sentence "expected ..."
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if it is not
 */
export function assertNode(request: unknown, response: unknown, expected: string): void {
  if (has(request, 'headers', 'object') && has(response, 'writeHead', 'function')) return;
  throw wrongFramework(expected);
}

/** Returns the error for arguments of another framework. Does not show them: they contain the credentials of the request. */
export function wrongFramework(expected: string): HotblobError {
  const message = `expected ${expected}, in this order, and with send the artifact as the last argument; import the functions from the module of your framework, such as 'hotblob/express'`;
  return new HotblobError('ERR_HOTBLOB_INVALID_OPTION', `arguments: ${message}`);
}

function has(value: unknown, name: string, type: 'object' | 'function'): boolean {
  return typeof value === 'object' && value !== null && typeof Reflect.get(value, name) === type;
}

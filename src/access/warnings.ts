import { printable } from '../util/printable.js';
import { logAccess } from './log.js';

/**
 * Returns a function that logs a line, and passes it to a callback of the application. An error of the callback, thrown or as a
 * rejected promise, is logged: it must affect neither requests nor the loading of a file.
 */
export function warnWith(onWarning: ((line: string) => void) | undefined): (line: string) => void {
  return (line) => {
    logAccess('%s', line);
    const call = async (): Promise<void> => onWarning?.(printable(line));
    call().catch((error: unknown) => logAccess('onWarning failed: %O', error));
  };
}

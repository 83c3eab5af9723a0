import { inspect } from 'node:util';
import debug from 'debug';
import { printable, printableLines } from './printable.js';

/** Function that logs a line. */
export interface Log {
  /** @param format as in the package `debug`, for example with `%s` and `%O`; must be a constant */
  (format: string, ...values: readonly unknown[]): void;
  /** Whether lines are printed. */
  readonly enabled: boolean;
}

/** Creates the log `hotblob:<name>` of the package `debug`. Values are made printable: clients choose keys and paths. */
export function createLog(name: string): Log {
  const log = debug(`hotblob:${name}`);
  const write = (format: string, ...values: readonly unknown[]): void => {
    if (log.enabled) log(format, ...values.map(printableValue));
  };
  return Object.defineProperty(write, 'enabled', { get: () => log.enabled }) as Log;
}

function printableValue(value: unknown): unknown {
  if (typeof value === 'string') return printable(value);
  return typeof value === 'object' && value !== null ? new PrintableObject(value) : value;
}

/** Object, such as an error, whose text is printable. */
class PrintableObject {
  readonly #value: object;

  constructor(value: object) {
    this.#value = value;
  }

  toString(): string {
    return printableLines(inspect(this.#value));
  }

  // A string that this method returns is printed without quotes.
  [inspect.custom](): string {
    return this.toString();
  }
}

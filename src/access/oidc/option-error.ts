import { inspect } from 'node:util';
import { HotblobError } from '../../contract/errors.js';
import { didYouMean } from '../../util/closest-name.js';

/** Names of properties and indexes of arrays that lead to an option, such as `['rules', 0, 'level']`. */
export type OptionPath = readonly (string | number)[];

/** Error about one option. A reader of a file can find the line with the path. */
export class OptionError extends HotblobError {
  readonly path: OptionPath;

  constructor(path: OptionPath, detail: string) {
    super('ERR_HOTBLOB_INVALID_OPTION', `${path.length === 0 ? 'options' : nameOf(path)}: ${detail}`);
    this.path = path;
  }
}

/** Returns an error that says what was expected and what was received. */
export function unexpected(path: OptionPath, expected: string, received: unknown): OptionError {
  const text = inspect(received, {
    depth: 0,
    compact: true,
    breakLength: Number.POSITIVE_INFINITY,
    maxStringLength: 100,
  });
  return new OptionError(path, `expected ${expected}, received ${text}`);
}

/** Returns an error for a property with an unknown name. */
export function unknownName(path: OptionPath, name: string, known: readonly string[]): OptionError {
  const names = known.join(', ');
  return new OptionError([...path, name], `unknown option${didYouMean(name, known)}; expected one of ${names}`);
}

/** Returns `rules[0].when.ref`. A name with other characters is quoted: `rules[0].when['oidc.circleci.com/org-id']`. */
function nameOf(path: OptionPath): string {
  return path
    .map((part, index) => {
      if (typeof part === 'number') return `[${part}]`;
      if (!/^\w+$/.test(part)) return `[${inspect(part)}]`;
      return index === 0 ? part : `.${part}`;
    })
    .join('');
}

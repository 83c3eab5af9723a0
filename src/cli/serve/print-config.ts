import { existsSync } from 'node:fs';
import { printable } from '../../util/printable.js';
import type { ServeArguments } from './serve-arguments.js';
import { areTokenLines, SERVE_OPTIONS } from './serve-options.js';

/**
 * Formats the options of `hotblob serve`, one line each: name, where the value comes from, and the value. Passwords in URLs and tokens
 * are not shown.
 *
 * @param help help of the command, which contains the defaults
 */
export function formatConfiguration({ values, variables }: ServeArguments, help: string): string {
  const lines = Object.entries(SERVE_OPTIONS).map(([name, { type }]): readonly [string, string, string] => {
    const value = values[name as keyof typeof SERVE_OPTIONS];
    if (value === undefined) return [name, 'default', type === 'boolean' ? 'no' : defaultOf(name, help)];
    const text = value === true ? 'yes' : [value].flat().join(', ');
    return [name, variables.get(name) ?? 'command line', printable(withoutSecrets(name, text, variables.has(name)))];
  });
  const widthOf = (column: 0 | 1): number => Math.max(...lines.map((line) => line[column].length));
  const [names, sources] = [widthOf(0), widthOf(1)];
  return lines.map(([name, source, text]) => `${name.padEnd(names)}  ${source.padEnd(sources)}  ${text}\n`).join('');
}

/** Returns the default of an option as its help describes it. */
function defaultOf(name: string, help: string): string {
  const [, entry = ''] = new RegExp(`\\n  --${name} (.*?)(?=\\n  --|\\n\\n)`, 's').exec(help) ?? [];
  const [, text] = /\(default: ([\s\S]*)\)\s*$/.exec(entry) ?? [];
  return text?.replace(/\s+/g, ' ') ?? 'none';
}

function withoutSecrets(name: string, text: string, isVariable: boolean): string {
  if (name === 'tokens' && areTokenLines(text)) return '(lines, not shown)';
  // The variable may contain a misspelt line.
  if (name === 'tokens' && isVariable && !existsSync(text)) return '(no such file, not shown)';
  return text.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/@]*@/i, '$1***@');
}

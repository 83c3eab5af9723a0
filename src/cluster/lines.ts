import type { Readable, Writable } from 'node:stream';

/** Maximum length of a line that is kept until it is complete. A longer one is forwarded in pieces. */
export const MAX_LINE_LENGTH = 1024 * 1024;

/** Forwards the output of a process in whole lines, so that the lines of several processes do not mix. */
export function forwardLines(from: Readable, to: Writable): void {
  let rest = '';
  from.setEncoding('utf8');
  from.on('data', (text: string) => {
    const end = text.lastIndexOf('\n') + 1;
    if (end > 0) to.write(rest + text.slice(0, end));
    rest = end > 0 ? text.slice(end) : rest + text;
    if (rest.length > MAX_LINE_LENGTH) {
      to.write(rest);
      rest = '';
    }
  });
  from.on('end', () => {
    if (rest !== '') to.write(`${rest}\n`);
  });
}

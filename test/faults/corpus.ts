import { readFileSync } from 'node:fs';

/** One request, as it is said over both protocols or over one. Text is latin1: each character is a byte. */
export interface CorpusRequest {
  readonly line: string;
  readonly http1: { readonly text: string; readonly method: string; readonly expected: string } | undefined;
  readonly http2:
    | { readonly fields: readonly Field[]; readonly body: string | null; readonly expected: string }
    | undefined;
  /** It begins with what says which kind of artifact is asked for; empty where it is in the text alone. */
  readonly target: string;
}
export type Field = readonly [name: string, value: string];

/** The requests of `requests.txt`, which says what its lines mean, by their headings. */
export function readCorpus(): ReadonlyMap<string, readonly CorpusRequest[]> {
  const text = readFileSync(new URL('./requests.txt', import.meta.url), 'utf8');
  const sections = text.split(/^## /m).slice(1);
  return new Map(
    sections.map((section) => {
      const [heading = '', ...lines] = section.split('\n');
      return [heading, lines.filter((line) => line !== '' && !line.startsWith('#')).flatMap(requestsOf)];
    }),
  );
}

const BYTES = /<([0-9A-F]{2})-([0-9A-F]{2})>/;

function requestsOf(line: string): CorpusRequest[] {
  const [, first, last] = BYTES.exec(line) ?? [];
  if (first === undefined || last === undefined) return [requestOf(line, '')];
  const codes = Array.from({ length: 256 }, (_, code) => code).slice(
    Number.parseInt(first, 16),
    Number.parseInt(last, 16) + 1,
  );
  return codes.map((code) => {
    const hex = code.toString(16).toUpperCase().padStart(2, '0');
    return requestOf(line.replace(BYTES, hex), String.fromCharCode(code));
  });
}

function requestOf(line: string, character: string): CorpusRequest {
  const [said = '', answers = ''] = line.split(/ -> (?=[^>]*$|.*"[^"]*$)/);
  const [one = '', other = one] = answers.split(' || ').map((answer) => {
    return repeated(answer).replace('<c>', JSON.stringify(character).slice(1, -1));
  });
  const [head = '', body] = said.split(' << ').map((part) => unescaped(repeated(part)));
  if (head.startsWith('raw ')) {
    const text = head.slice(4);
    return {
      line,
      target: '',
      http1: { text, method: text.trimStart().split(/[ \t]/)[0] ?? '', expected: one },
      http2: undefined,
    };
  }
  const [start = '', ...lines] = head.split(' | ');
  const fields = lines.map(fieldOf);
  const http2Body = body ?? null;
  if (start === 'h2') {
    const target = fields.find(([name]) => name === ':path')?.[1] ?? '';
    return { line, target, http1: undefined, http2: { fields, body: http2Body, expected: one } };
  }
  const [, method = '', target = ''] = /^(\S+) ([\s\S]*)$/.exec(start) ?? [];
  const isFramed = fields.some(([name]) => name.toLowerCase() === 'content-length');
  const framing: Field[] = body === undefined || isFramed ? [] : [['Content-Length', String(body.length)]];
  const block = [['Host', 'a'] as const, ...fields, ...framing]
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('');
  const pseudo: Field[] = [
    [':method', method],
    [':scheme', 'http'],
    [':authority', 'a'],
    [':path', target],
  ];
  // HTTP/2 has its names in lower case (RFC 9113, 8.2).
  const lower = fields.map(([name, value]): Field => [name.toLowerCase(), value]);
  return {
    line,
    target,
    http1: { text: `${method} ${target} HTTP/1.1\r\n${block}\r\n${body ?? ''}`, method, expected: one },
    http2: { fields: [...pseudo, ...lower], body: http2Body, expected: other },
  };
}

function fieldOf(text: string): Field {
  const end = text.indexOf(':', 1);
  return [text.slice(0, end), text.slice(end + 1).replace(/^ /, '')];
}

/** `{ab*3}` is `ababab`; between fields, `~` stands for what parts them. */
function repeated(text: string): string {
  return text.replaceAll(/\{([^{}]+)\*(\d+)\}/g, (_, part: string, count: string) => {
    return part.endsWith('~')
      ? Array.from({ length: Number(count) }, () => part.slice(0, -1)).join(' | ')
      : part.repeat(Number(count));
  });
}

const ESCAPES: Readonly<Record<string, string>> = { t: '\t', r: '\r', n: '\n', s: ' ' };

function unescaped(text: string): string {
  return text.replaceAll(/\\(?:x([0-9A-F]{2})|([trns]))/g, (_, hex: string | undefined, letter: string) => {
    return hex === undefined ? (ESCAPES[letter] ?? '') : String.fromCharCode(Number.parseInt(hex, 16));
  });
}

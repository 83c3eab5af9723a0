import { readFileSync } from 'node:fs';

/** Request over one or both HTTP versions. Text is latin1: each character is a byte. */
export interface CorpusRequest {
  readonly line: string;
  readonly http1: { readonly text: string; readonly method: string; readonly expected: string } | undefined;
  readonly http2:
    | { readonly fields: readonly Field[]; readonly body: string | null; readonly expected: string }
    | undefined;
  /** Request target, whose start determines the kind of artifact. Empty for a raw request. */
  readonly target: string;
}
export type Field = readonly [name: string, value: string];

/** Reads the requests of `requests.txt` by their headings. That file describes its format. */
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
  const [request = '', expectations = ''] = line.split(/ -> (?=[^>]*$|.*"[^"]*$)/);
  const [first = '', second = first] = expectations.split(' || ').map((expectation) => {
    return expandRepeats(expectation).replace('<c>', JSON.stringify(character).slice(1, -1));
  });
  const [head = '', body] = request.split(' << ').map((part) => unescapeText(expandRepeats(part)));
  if (head.startsWith('raw ')) {
    const text = head.slice(4);
    return {
      line,
      target: '',
      http1: { text, method: text.trimStart().split(/[ \t]/)[0] ?? '', expected: first },
      http2: undefined,
    };
  }
  const [start = '', ...lines] = head.split(' | ');
  const fields = lines.map(fieldOf);
  const http2Body = body ?? null;
  if (start === 'h2') {
    const target = fields.find(([name]) => name === ':path')?.[1] ?? '';
    return { line, target, http1: undefined, http2: { fields, body: http2Body, expected: first } };
  }
  const [, method = '', target = ''] = /^(\S+) ([\s\S]*)$/.exec(start) ?? [];
  const isFramed = fields.some(([name]) => name.toLowerCase() === 'content-length');
  const framing: Field[] = body === undefined || isFramed ? [] : [['Content-Length', String(body.length)]];
  const block = [['Host', 'localhost'] as const, ...fields, ...framing]
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('');
  const pseudo: Field[] = [
    [':method', method],
    [':scheme', 'http'],
    [':authority', 'localhost'],
    [':path', target],
  ];
  // Header names of HTTP/2 are in lower case (RFC 9113, 8.2).
  const lower = fields.map(([name, value]): Field => [name.toLowerCase(), value]);
  return {
    line,
    target,
    http1: { text: `${method} ${target} HTTP/1.1\r\n${block}\r\n${body ?? ''}`, method, expected: first },
    http2: { fields: [...pseudo, ...lower], body: http2Body, expected: second },
  };
}

function fieldOf(text: string): Field {
  const end = text.indexOf(':', 1);
  return [text.slice(0, end), text.slice(end + 1).replace(/^ /, '')];
}

/** Expands `{ab*3}` to `ababab`. Between fields, `~` stands for the separator. */
function expandRepeats(text: string): string {
  return text.replaceAll(/\{([^{}]+)\*(\d+)\}/g, (_, part: string, count: string) => {
    return part.endsWith('~')
      ? Array.from({ length: Number(count) }, () => part.slice(0, -1)).join(' | ')
      : part.repeat(Number(count));
  });
}

const ESCAPES: Readonly<Record<string, string>> = { t: '\t', r: '\r', n: '\n', s: ' ' };

function unescapeText(text: string): string {
  return text.replaceAll(/\\(?:x([0-9A-F]{2})|([trns]))/g, (_, hex: string | undefined, letter: string) => {
    return hex === undefined ? (ESCAPES[letter] ?? '') : String.fromCharCode(Number.parseInt(hex, 16));
  });
}

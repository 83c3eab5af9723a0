/** Position in a text. The first line and the first column are 1. */
export interface TextPosition {
  readonly line: number;
  readonly column: number;
}

/** Names of properties and indexes of arrays that lead to a value. */
export type JsonPath = readonly (string | number)[];

/** JSON value with the positions of all values in it. */
export interface LocatedJson {
  readonly value: unknown;
  /** Returns where a value is. If there is no value at the path, returns where the innermost value around it is. */
  positionOf(path: JsonPath): TextPosition;
}

/** Error in a JSON text. */
export class JsonSyntaxError extends Error {
  override readonly name = 'JsonSyntaxError';
  readonly position: TextPosition;

  constructor(message: string, position: TextPosition) {
    super(message);
    this.position = position;
  }
}

/** Deeper nesting is refused, because the parser is recursive. */
const MAX_DEPTH = 64;

/**
 * Parses a JSON text (RFC 8259) like `JSON.parse`, and remembers where each value is. A name that occurs twice in an object is an
 * error, because the first value would silently have no effect.
 *
 * @throws JsonSyntaxError
 */
export function parseLocatedJson(text: string): LocatedJson {
  const parser = new Parser(text.replace(/^\uFEFF/, ''));
  const value = parser.parse();
  return { value, positionOf: (path) => parser.positionOf(path) };
}

class Parser {
  readonly #text: string;
  #offset = 0;
  /** Offset of each value, by its path as JSON. */
  readonly #offsets = new Map<string, number>();

  constructor(text: string) {
    this.#text = text;
  }

  parse(): unknown {
    const value = this.#value([]);
    if (this.#offset < this.#text.length) throw this.#unexpected('the end of the file');
    return value;
  }

  positionOf(path: JsonPath): TextPosition {
    for (let length = path.length; length > 0; length--) {
      const offset = this.#offsets.get(JSON.stringify(path.slice(0, length)));
      if (offset !== undefined) return positionAt(this.#text, offset);
    }
    return positionAt(this.#text, this.#offsets.get('[]') ?? 0);
  }

  #value(path: JsonPath): unknown {
    this.#skipBlanks();
    this.#offsets.set(JSON.stringify(path), this.#offset);
    if (path.length > MAX_DEPTH) throw this.#error(`more than ${MAX_DEPTH} nested values`);
    const value = this.#parseValue(path);
    this.#skipBlanks();
    return value;
  }

  #parseValue(path: JsonPath): unknown {
    if (this.#take('{')) return this.#object(path);
    if (this.#take('[')) return this.#array(path);
    if (this.#text[this.#offset] === '"') return this.#string('a value');
    const word = this.#match(/(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.])/y);
    if (word === undefined) throw this.#unexpected('a value');
    return JSON.parse(word);
  }

  #object(path: JsonPath): unknown {
    const entries = new Map<string, unknown>();
    this.#skipBlanks();
    if (this.#take('}')) return {};
    do {
      this.#skipBlanks();
      const start = this.#offset;
      const name = this.#string('a name in double quotes');
      if (entries.has(name)) {
        this.#offset = start;
        throw this.#error(`the name ${JSON.stringify(name)} occurs twice`);
      }
      this.#skipBlanks();
      if (!this.#take(':')) throw this.#unexpected('":"');
      entries.set(name, this.#value([...path, name]));
    } while (this.#take(','));
    if (!this.#take('}')) throw this.#unexpected('"," or "}"');
    // Unlike an assignment, this makes `__proto__` a property like any other.
    return Object.fromEntries(entries);
  }

  #array(path: JsonPath): unknown {
    const values: unknown[] = [];
    this.#skipBlanks();
    if (this.#take(']')) return values;
    do values.push(this.#value([...path, values.length]));
    while (this.#take(','));
    if (!this.#take(']')) throw this.#unexpected('"," or "]"');
    return values;
  }

  #string(expected: string): string {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters must be escaped in JSON
    const literal = this.#match(/"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"/y);
    if (literal !== undefined) return JSON.parse(literal);
    if (this.#text[this.#offset] === '"')
      throw this.#error('a string that does not end on its line, or has an invalid escape');
    throw this.#unexpected(expected);
  }

  #skipBlanks(): void {
    this.#match(/[ \t\r\n]*/y);
  }

  #take(character: string): boolean {
    if (this.#text[this.#offset] !== character) return false;
    this.#offset++;
    return true;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#offset;
    const match = pattern.exec(this.#text)?.[0];
    this.#offset += match?.length ?? 0;
    return match;
  }

  #unexpected(expected: string): JsonSyntaxError {
    const received = /\w+|[\s\S]/uy;
    received.lastIndex = this.#offset;
    const text = received.exec(this.#text)?.[0].slice(0, 40);
    return this.#error(
      `expected ${expected}, received ${text === undefined ? 'the end of the file' : JSON.stringify(text)}`,
    );
  }

  #error(message: string): JsonSyntaxError {
    return new JsonSyntaxError(message, positionAt(this.#text, this.#offset));
  }
}

function positionAt(text: string, offset: number): TextPosition {
  const lines = text.slice(0, offset).split(/\r?\n/);
  return { line: lines.length, column: (lines.at(-1)?.length ?? 0) + 1 };
}

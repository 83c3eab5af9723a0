/** Uploads of one client. */
export interface WriterCount {
  /** Name of the client, as the access policy returned it; `*` for all clients beyond the first 100. */
  readonly subject: string;
  /** Scope of the uploads; `*` for all clients beyond the first 100. */
  readonly scope: string;
  /** Number of successful uploads. */
  readonly count: number;
}

/** A policy can name any number of clients, such as one for each pull request. */
const MAX_WRITERS = 100;
const OTHERS = { subject: '*', scope: '*' };

/** Counts the uploads of each client that an access policy names. */
export class Writers {
  readonly #counts = new Map<string, { subject: string; scope: string; count: number }>();

  count(subject: string, scope: string): void {
    const id = `${scope} ${subject}`; // a scope contains no blank
    const entry = this.#counts.get(id);
    if (entry !== undefined) entry.count++;
    else if (this.#counts.size < MAX_WRITERS) this.#counts.set(id, { subject, scope, count: 1 });
    else {
      const others = this.#counts.get('') ?? { ...OTHERS, count: 0 };
      others.count++;
      this.#counts.set('', others);
    }
  }

  snapshot(): WriterCount[] {
    return Array.from(this.#counts.values(), (entry) => ({ ...entry }));
  }
}

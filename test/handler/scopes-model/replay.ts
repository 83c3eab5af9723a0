import assert from 'node:assert/strict';
import { type Request, type Response, request } from '../../helpers/client.js';
import type { RunningServer } from '../../helpers/servers.js';
import { type Client, chainOf, type Entry, Model, refusalOf, scopeOf } from './model.js';
import type { Condition, Operation, ReadKind, Run } from './operations.js';
import { actionResult, MODULE, PROJECT_ROUTES, projectOf, ROUTES, type Route } from './routes.js';
import { tokenOf } from './site.js';

/** Servers of one store. If there are several, they belong to different processes. */
export interface Site {
  /** Returns the servers whose handlers have this default of `overwrite`. */
  servers(overwrite: boolean): readonly RunningServer[];
  /** Whether a request that deletes all artifacts of a Tuist project reaches another process later. */
  readonly seesCleanLater?: boolean;
}

let runs = 0;

/** Performs the operations of a run one by one, and compares each response with that of the model. */
export async function replay(site: Site, run: Run): Promise<void> {
  const replaying = new Replay(site.servers(run.overwrite), run, ++runs);
  for (const operation of run.operations) {
    if (operation.kind !== 'clean' || site.seesCleanLater !== true) await replaying.perform(operation);
  }
  await replaying.checkAll();
}

class Replay {
  readonly #servers: readonly RunningServer[];
  readonly #model: Model;
  readonly #clients: Client[];
  /** Prefix of all keys, so that runs can share a store. */
  readonly #run: string;
  readonly #used = new Map<string, { readonly route: Route; readonly id: string }>();
  #steps = 0;

  constructor(servers: readonly RunningServer[], { overwrite, clients }: Run, number: number) {
    this.#servers = servers;
    this.#model = new Model(overwrite);
    this.#clients = [...clients];
    this.#run = `r${number}s`;
  }

  async perform(operation: Operation): Promise<void> {
    switch (operation.kind) {
      case 'read':
        return this.#read(this.#client(operation.client), this.#route(operation.route), operation.slot, operation.how);
      case 'conditional-read':
        return this.#readConditionally(operation);
      case 'upload':
      case 'delete':
        return this.#write(operation);
      case 'concurrent-uploads':
        return this.#uploadConcurrently(operation);
      case 'module':
        return this.#uploadModule(operation);
      case 'query':
        return this.#query(this.#client(operation.client));
      case 'properties':
        return this.#properties(this.#client(operation.client), operation.slot);
      case 'collection': {
        const client = this.#client(operation.client);
        const { status } = await this.#send(client, 'MKCOL', '/sccache/.scopes/main/');
        assert.equal(status, refusalOf(client, 'write') ?? 201);
        return;
      }
      case 'clean':
        return this.#clean(this.#client(operation.client));
      case 'hostile': {
        const { client, method, path } = operation;
        const body = method === 'PUT' ? Buffer.from('poison') : undefined;
        assert.equal((await this.#send(this.#client(client), method, path, { body })).status, 400, path);
        return;
      }
      case 'regrant':
        this.#clients[operation.client] = operation.to;
    }
  }

  /** Compares what every client finds under every key that was written. */
  async checkAll(): Promise<void> {
    for (const { route, id } of this.#used.values()) {
      await Promise.all(this.#clients.map((client) => this.#readId(client, route, id, 'get')));
    }
  }

  #client(index: number): Client {
    return this.#clients[index] ?? 'none';
  }

  #route(name: string): Route {
    return ROUTES.find((each) => each.name === name) ?? MODULE;
  }

  #id(slot: number): string {
    return `${this.#run}${slot}`;
  }

  #key(route: Route, id: string): string {
    this.#used.set(`${route.name}:${id}`, { route, id });
    return `${route.name}:${id}`;
  }

  /** Returns text that names the scope of its writer, and is not repeated. */
  #marker(client: Client): string {
    return `<scope=${scopeOf(client)}> ${this.#run}${++this.#steps}`;
  }

  async #send(client: Client, method: string, path: string, rest: Omit<Request, 'method' | 'path'> = {}) {
    const server = this.#servers[this.#steps++ % this.#servers.length];
    assert(server !== undefined);
    const headers = { authorization: `Bearer ${tokenOf(client)}`, ...rest.headers };
    const response = await request(server, { method, path, ...rest, headers });
    assertVisible(client, response);
    return response;
  }

  #read(client: Client, route: Route, slot: number, how: ReadKind): Promise<void> {
    return this.#readId(client, route, this.#id(slot), how);
  }

  async #readId(client: Client, route: Route, id: string, how: ReadKind): Promise<void> {
    const method = how === 'head' ? 'HEAD' : 'GET';
    const ranges = { range: 'bytes=2-5', 'range-outside': 'bytes=100000-' };
    const headers = how === 'range' || how === 'range-outside' ? { range: ranges[how] } : {};
    const response = await this.#send(client, method, route.path(id), { headers });
    const expected = this.#model.find(client, this.#key(route, id));
    const refusal = refusalOf(client, 'read');
    const message = `${method} ${how} ${route.path(id)} of ${JSON.stringify(client)}`;
    if (refusal !== undefined || expected === undefined) {
      assert.equal(response.status, refusal ?? 404, message);
    } else if (how === 'range-outside') {
      assert.equal(response.status, 416, message);
    } else {
      assert.equal(response.status, how === 'head' ? route.headStatus : how === 'range' ? 206 : 200, message);
      const body = how === 'range' ? expected.body.subarray(2, 6) : expected.body;
      if (how !== 'head') assert.equal(response.body.toString('latin1'), body.toString('latin1'), message);
      else if (route.headStatus === 200) assert.equal(response.headers['content-length'], `${body.byteLength}`);
    }
  }

  /** Returns the entity tag that a client receives, and the artifact that it belongs to. */
  async #tagOf(peer: Client, route: Route, id: string): Promise<{ readonly tag: string; readonly entry?: Entry }> {
    const { status, headers } = await this.#send(peer, 'GET', route.path(id));
    const entry = refusalOf(peer, 'read') === undefined ? this.#model.find(peer, this.#key(route, id)) : undefined;
    assert.equal(status, refusalOf(peer, 'read') ?? (entry === undefined ? 404 : 200));
    return entry === undefined ? { tag: '"none"' } : { tag: headers.etag ?? '', entry };
  }

  async #readConditionally({ client: index, peer, route: name, slot, condition }: Kind<'conditional-read'>) {
    const [client, route, id] = [this.#client(index), this.#route(name), this.#id(slot)];
    // The same content can have the same entity tag in two scopes.
    if (route.isContentAddressed) return;
    const { tag, entry } = await this.#tagOf(this.#client(peer), route, id);
    const { status } = await this.#send(client, 'GET', route.path(id), { headers: { [condition]: tag } });
    const found = this.#model.find(client, this.#key(route, id));
    const isSame = found === entry;
    const expected = found === undefined ? 404 : condition === 'if-match' ? (isSame ? 200 : 412) : isSame ? 304 : 200;
    assert.equal(status, refusalOf(client, 'read') ?? expected, `${condition} ${route.path(id)}`);
  }

  async #write({ kind, client: index, peer, route: name, slot, condition, blobs }: Kind<'upload' | 'delete'>) {
    const [client, route, id] = [this.#client(index), this.#route(name), this.#id(slot)];
    const used = route.isContentAddressed || !route.hasPreconditions ? 'none' : condition;
    const tag = used === 'none' ? undefined : await this.#tagOf(this.#client(peer), route, id);
    const headers = headersFor(used, tag?.tag);
    const own = this.#model.own(client, this.#key(route, id));
    const isMet =
      used === 'none' ||
      (used === 'absent' ? own === undefined : (own !== undefined && own === tag?.entry) === (used === 'if-match'));
    const refusal = refusalOf(client, 'write') ?? (this.#isTooLong(client, route) ? 414 : undefined);
    if (kind === 'delete') {
      const { status } = await this.#send(client, 'DELETE', route.path(id), { headers });
      const isChecked = used !== 'none';
      let expected = refusalOf(client, 'write');
      // A client that may not delete is refused before its key is checked.
      if (expected === undefined && (isChecked || this.#model.mayOverwrite(client))) expected = refusal;
      expected ??= isChecked && own === undefined ? 404 : isMet ? undefined : 412;
      if (expected === undefined && !this.#model.mayOverwrite(client)) expected = 403;
      expected ??= this.#model.delete(client, this.#key(route, id)) ? 204 : 404;
      assert.equal(status, expected, `DELETE ${route.path(id)} of ${JSON.stringify(client)}`);
      return;
    }
    const entry = this.#entryFor(client, route, id, blobs);
    const upload = route.upload?.(id, entry.body);
    if (upload === undefined) return;
    const { status } = await this.#send(client, upload.method, upload.path, { headers, body: upload.body });
    const expected = refusal ?? (isMet ? this.#store(client, route, id, entry) : 412);
    assert.equal(status, expected, `${upload.method} ${upload.path} ${used} of ${JSON.stringify(client)}`);
  }

  /** Stores an artifact in the model. Returns the status of the response. */
  #store(client: Client, route: Route, id: string, entry: Entry): number {
    return route.statuses[this.#model.put(client, this.#key(route, id), entry, route.isContentAddressed)];
  }

  #entryFor(client: Client, route: Route, id: string, blobs: readonly number[]): Entry {
    const marker = this.#marker(client);
    if (route.name === 'bazel-ac') {
      const ids = blobs.map((slot) => this.#id(slot));
      return { body: actionResult(marker, ids), needs: ids.map((each) => `bazel-cas:${each}`) };
    }
    return { body: route.body?.(id, marker) ?? Buffer.from(marker) };
  }

  #isTooLong(client: Client, { keyBytes = 0 }: Route): boolean {
    const scope = scopeOf(client);
    const encoded = scope.replace(/[^a-z0-9._-]/g, '%00');
    return keyBytes + (scope === 'default' ? 0 : `.scopes/${encoded}/`.length) > 1024;
  }

  async #uploadConcurrently({ clients, reader, route: name, slot }: Kind<'concurrent-uploads'>): Promise<void> {
    const [route, id] = [this.#route(name), this.#id(slot)];
    const [first, second] = [this.#client(clients[0]), this.#client(clients[1])];
    if (scopeOf(first) === scopeOf(second)) return;
    const uploads = [first, second].map(async (client) => {
      const entry = this.#entryFor(client, route, id, []);
      const upload = route.upload?.(id, entry.body);
      if (upload === undefined) return;
      const { status } = await this.#send(client, upload.method, upload.path, { body: upload.body });
      const refusal = refusalOf(client, 'write') ?? (this.#isTooLong(client, route) ? 414 : undefined);
      assert.equal(status, refusal ?? this.#store(client, route, id, entry), `${upload.path} at the same time`);
    });
    // What the reader receives is not determined, but `#send` checks its scope.
    await Promise.all([...uploads, this.#send(this.#client(reader), 'GET', route.path(id))]);
  }

  async #uploadModule({ starter, sender, completer, slot, regrant }: Kind<'module'>): Promise<void> {
    const id = this.#id(slot);
    const path = `/api/cache/module/start?${MODULE.path(id).split('?')[1]}`;
    const client = this.#client(starter);
    const key = this.#key(MODULE, id);
    const started = await this.#send(client, 'POST', path);
    assert.equal(started.status, refusalOf(client, 'write') ?? 200, path);
    if (started.status !== 200) return;
    const { upload_id: upload } = JSON.parse(started.body.toString());
    assert.equal(upload === null, this.#model.find(client, key) !== undefined, path);
    if (upload === null) return;
    if (regrant !== undefined) this.#clients[starter] = regrant;
    const entry = { body: Buffer.from(this.#marker(client)) };
    const step = async (by: Client, name: string, rest: string, body: Buffer): Promise<number> => {
      const { status } = await this.#send(by, 'POST', `/api/cache/module/${name}?upload_id=${upload}${rest}`, { body });
      const isSame = scopeOf(by) === scopeOf(client) && `${chainOf(by)}` === `${chainOf(client)}`;
      assert.equal(status, refusalOf(by, 'write') ?? (isSame ? 204 : 404), `${name} by ${JSON.stringify(by)}`);
      return status;
    };
    for (const by of [this.#client(sender), client]) await step(by, 'part', '&part_number=1', entry.body);
    const list = Buffer.from(JSON.stringify({ parts: [1] }));
    for (const by of [this.#client(completer), client]) {
      if ((await step(by, 'complete', '', list)) !== 204) continue;
      this.#store(by, MODULE, id, entry);
      return;
    }
  }

  async #query(client: Client): Promise<void> {
    const ids = [this.#id(0), this.#id(1), 'missing'];
    const body = Buffer.from(JSON.stringify({ hashes: ids }));
    const response = await this.#send(client, 'POST', '/v8/artifacts?slug=team', { body });
    assert.equal(response.status, refusalOf(client, 'read') ?? 200);
    if (response.status !== 200) return;
    const sizes = ids.map((id) => [id, this.#model.find(client, `turborepo:${id}`)?.body.byteLength ?? null]);
    const found: Record<string, { size: number } | null> = JSON.parse(response.body.toString());
    const received = Object.entries(found).map(([id, summary]) => [id, summary?.size ?? null]);
    assert.deepEqual(received.sort(), sizes.sort());
  }

  async #properties(client: Client, slot: number): Promise<void> {
    const route = this.#route('sccache');
    const { status, body } = await this.#send(client, 'PROPFIND', route.path(this.#id(slot)));
    const entry = this.#model.find(client, this.#key(route, this.#id(slot)));
    assert.equal(status, refusalOf(client, 'read') ?? (entry === undefined ? 404 : 207));
    if (status === 207) assert.match(body.toString(), new RegExp(`getcontentlength>${entry?.body.byteLength}<`));
  }

  async #clean(client: Client): Promise<void> {
    const { status } = await this.#send(client, 'DELETE', `/api/cache/clean?${projectOf(this.#run)}`);
    const isAllowed = this.#model.mayOverwrite(client);
    assert.equal(status, refusalOf(client, 'write') ?? (isAllowed ? 204 : 403), `clean by ${JSON.stringify(client)}`);
    if (status === 204) this.#model.clean(client, PROJECT_ROUTES);
  }
}

type Kind<K extends Operation['kind']> = Extract<Operation, { readonly kind: K }>;

function headersFor(condition: Condition, tag: string | undefined): Record<string, string> {
  if (condition === 'absent') return { 'if-none-match': '*' };
  return condition === 'none' || tag === undefined ? {} : { [condition]: tag };
}

/** Asserts that a response contains no text from a scope that the client does not read, whatever the model says. */
function assertVisible(client: Client, { body, headers }: Response): void {
  const text = `${body.toString('latin1')}${JSON.stringify(headers)}`;
  for (const [, scope] of text.matchAll(/<scope=([^>]*)>/g)) {
    assert(chainOf(client).includes(scope ?? ''), `an artifact of ${scope} was sent to ${JSON.stringify(client)}`);
  }
  assert(!/acme\/web|\u{1f600}/u.test(text), 'the name of a writer was sent');
}

import { ChangingFile } from '../../access/changing-file.js';
import { messageOf } from '../../util/report-event.js';
import { CommandError } from '../command.js';
import { type Certificate, type CertificatePaths, checkCertificate } from './certificate.js';

/** Interval between two checks of the files. */
const CHECK_INTERVAL_MS = 5000;

/** Receivers of what {@link CertificateFiles.watch} finds. */
export interface CertificateWatcher {
  onRenewed(certificate: Certificate): void;
  /** Called once for each problem. The previous certificate remains in use. */
  onProblem(message: string): void;
}

/** Files of certificates and the key, which are replaced when a certificate is renewed. */
export class CertificateFiles {
  readonly #paths: CertificatePaths;
  readonly #files: ReadonlyMap<keyof CertificatePaths, ChangingFile>;
  /** Latest contents of the files. They do not belong together while one of the files has been replaced. */
  readonly #texts: { cert: string; key: string; clientCa?: string } = { cert: '', key: '' };
  #watcher: CertificateWatcher | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lastProblem: string | undefined;
  #reportedProblem: string | undefined;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(paths: CertificatePaths) {
    this.#paths = paths;
    const { cert, key, clientCa } = paths;
    this.#files = new Map([
      ['cert', new ChangingFile(cert)],
      ['key', new ChangingFile(key)],
      ...(clientCa === undefined ? [] : [['clientCa', new ChangingFile(clientCa)] as const]),
    ]);
  }

  /**
   * Reads the files.
   *
   * @throws CommandError if they cannot be used
   */
  async load(): Promise<Certificate> {
    await this.#read();
    return checkCertificate(this.#paths, this.#texts);
  }

  /** Checks the files from time to time, until {@link close}. */
  watch(watcher: CertificateWatcher): void {
    this.#watcher = watcher;
    this.#timer = setInterval(() => void this.#enqueue(false), CHECK_INTERVAL_MS).unref();
  }

  /** Checks the files now. Never rejects. */
  reload(): Promise<void> {
    return this.#enqueue(true);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#watcher = undefined;
  }

  #enqueue(isRequested: boolean): Promise<void> {
    const result = this.#queue.then(() => this.#check(isRequested));
    this.#queue = result;
    return result;
  }

  async #check(isRequested: boolean): Promise<void> {
    try {
      if (!(await this.#read()) && this.#lastProblem === undefined) return;
      const certificate = checkCertificate(this.#paths, this.#texts);
      this.#lastProblem = undefined;
      this.#reportedProblem = undefined;
      this.#watcher?.onRenewed(certificate);
    } catch (error) {
      this.#report(messageOf(error), isRequested);
    }
  }

  // The two files are replaced one after the other, and do not match in the meantime. A problem is therefore reported only if
  // the next check finds the same problem.
  #report(problem: string, isRequested: boolean): void {
    const isLasting = isRequested || problem === this.#lastProblem;
    this.#lastProblem = problem;
    if (!isLasting || problem === this.#reportedProblem) return;
    this.#reportedProblem = problem;
    this.#watcher?.onProblem(problem);
  }

  /** Resolves to whether a file has changed. */
  async #read(): Promise<boolean> {
    let hasChanged = false;
    for (const [name, file] of this.#files) {
      try {
        const content = await file.readIfChanged();
        if (content === undefined) continue;
        this.#texts[name] = content.text;
        hasChanged = true;
      } catch (error) {
        throw new CommandError(`--tls-${name === 'clientCa' ? 'client-ca' : name}: ${messageOf(error)}`);
      }
    }
    return hasChanged;
  }
}

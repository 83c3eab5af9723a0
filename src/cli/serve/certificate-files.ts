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

/** The files of `--tls-cert` and `--tls-key`, which are replaced when the certificate is renewed. */
export class CertificateFiles {
  readonly #paths: CertificatePaths;
  readonly #files: Readonly<Record<keyof CertificatePaths, ChangingFile>>;
  /** Latest contents of the files. They do not belong together while one of the files has been replaced. */
  readonly #texts = { cert: '', key: '' };
  #watcher: CertificateWatcher | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lastProblem: string | undefined;
  #reportedProblem: string | undefined;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(paths: CertificatePaths) {
    this.#paths = paths;
    this.#files = { cert: new ChangingFile(paths.cert), key: new ChangingFile(paths.key) };
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
    for (const name of ['cert', 'key'] as const) {
      try {
        const content = await this.#files[name].readIfChanged();
        if (content === undefined) continue;
        this.#texts[name] = content.text;
        hasChanged = true;
      } catch (error) {
        throw new CommandError(`--tls-${name}: ${messageOf(error)}`);
      }
    }
    return hasChanged;
  }
}

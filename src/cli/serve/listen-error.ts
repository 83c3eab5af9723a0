import { errnoCode } from '../../contract/errors.js';
import { CommandError } from '../command.js';

/** Address that `--host` and `--port` name. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** Returns the error of `listen` with its remedy. Errors for which there is none are returned unchanged. */
export function listenError(error: unknown, { host, port }: ListenAddress): unknown {
  switch (errnoCode(error)) {
    case 'EADDRINUSE':
      return new CommandError(
        `--port: another process listens on port ${port} of ${host}; stop it, or choose another port (0: any free port)`,
      );
    case 'EACCES':
      return new CommandError(
        `--port: this user may not listen on port ${port}; choose a port from 1024, with a proxy or port mapping in front of it`,
      );
    case 'EADDRNOTAVAIL':
      return new CommandError(
        `--host: ${host} is not an address of this machine; use 127.0.0.1 (only this machine), 0.0.0.0 (all IPv4 addresses) or :: (all addresses)`,
      );
    case 'EAFNOSUPPORT':
      return new CommandError(`--host: this machine has no address of the family of ${host}; use 127.0.0.1 or 0.0.0.0`);
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new CommandError(
        `--host: the name ${host} has no address (${errnoCode(error)}); use an IP address of this machine, or 0.0.0.0 for all`,
      );
    default:
      return error;
  }
}

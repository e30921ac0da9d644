import { State, type StatusReply, type VersionReply } from '../../proto/gen/pgctld.ts'

/**
 * Prints a status; as JSON one object in snake_case. The exit code: 1 for an unusable directory.
 */
export function printStatus(status: StatusReply, json: boolean): number {
  print(statusFields(status), json)
  return status.state === State.UNUSABLE ? 1 : 0
}

type Fields = Record<string, string | number | boolean | null>

/** A status as people and scripts see it. */
export function statusFields(status: StatusReply): Fields {
  return {
    state: status.state,
    message: status.message,
    pid: status.pid === 0 ? null : status.pid,
    version: status.version,
    data_dir: status.dataDir,
    port: status.port,
    socket_dir: status.socketDir,
    accepting: status.accepting,
    in_recovery: status.inRecovery,
    timeline: status.timeline,
    system_identifier: status.systemIdentifier,
  }
}

/** Prints which Postgres it is. The exit code. */
export function printVersion(version: VersionReply, json: boolean): number {
  const { postgresVersion, binDir, hasPgRewind } = version
  print({ version: postgresVersion, bin_dir: binDir, has_pg_rewind: hasPgRewind }, json)
  return 0
}

function print(fields: Fields, json: boolean): void {
  if (json) return console.log(JSON.stringify(fields))
  const width = Math.max(...Object.keys(fields).map((name) => name.length))
  for (const [name, value] of Object.entries(fields)) {
    if (value !== '' && value !== null) console.log(`${name.padEnd(width)}  ${String(value)}`)
  }
}

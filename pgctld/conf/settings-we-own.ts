// The settings that safety stands on. They are on the postmaster's command line, which wins over
// postgresql.conf, ALTER SYSTEM and postgresql.auto.conf, so that nobody changes them by mistake.

/** What of a server's own address is among them. */
export interface OwnedValues {
  /** Ours in process titles and as a walreceiver's fallback name. */
  readonly clusterName: string
  readonly port: number
  readonly socketDir: string
  /** Comma-separated addresses. */
  readonly listen: string
}

/** One owned setting and why it is ours. */
export interface OwnedSetting {
  readonly name: string
  readonly value: string
  readonly reason: string
}

const WALSENDERS = '32'

const FIXED: readonly OwnedSetting[] = [
  {
    name: 'restart_after_crash',
    value: 'off',
    reason:
      'a postmaster that restarts itself after a crash comes back as a primary nobody appointed',
  },
  { name: 'fsync', value: 'on', reason: 'an acknowledged commit is on the disk' },
  { name: 'full_page_writes', value: 'on', reason: 'torn pages; base backups from a standby' },
  {
    name: 'data_sync_retry',
    value: 'off',
    reason: 'after a failed fsync the cache is not to be trusted',
  },
  { name: 'wal_log_hints', value: 'on', reason: 'pg_rewind needs it, or checksums' },
  {
    name: 'wal_level',
    value: 'logical',
    reason: 'followers and subscribers; changing it needs a restart',
  },
  { name: 'hot_standby', value: 'on', reason: 'a follower answers status queries and reads' },
  {
    name: 'max_wal_senders',
    value: WALSENDERS,
    reason: 'the same on all, or a standby refuses to start',
  },
  { name: 'max_replication_slots', value: WALSENDERS, reason: 'changing it needs a restart' },
  {
    name: 'recovery_init_sync_method',
    value: 'syncfs',
    reason: 'after a crash all files are synced at once, not one by one: 10 ms, not a second',
  },
  {
    name: 'wal_retrieve_retry_interval',
    value: '100ms',
    reason: 'a follower whose leader was not there yet tries again soon, not after 5 s',
  },
  {
    name: 'wal_sender_timeout',
    value: '5s',
    reason: 'a frozen follower does not hold up a fast stop',
  },
  { name: 'wal_receiver_timeout', value: '5s', reason: 'a follower notices a silent leader' },
  { name: 'wal_receiver_status_interval', value: '1s', reason: 'lag is known to a second' },
  { name: 'recovery_target_timeline', value: 'latest', reason: 'a follower follows its leader' },
  { name: 'logging_collector', value: 'off', reason: 'the log is the file that pgctld opened' },
  { name: 'log_destination', value: 'stderr', reason: 'the log is the file that pgctld opened' },
  { name: 'password_encryption', value: 'scram-sha-256', reason: 'the gateway verifies SCRAM' },
  { name: 'hba_file', value: 'pg_hba.conf', reason: 'who may connect is ours to say' },
]

/**
 * Settings that the cluster hands to Start and Reload, and that a user may therefore not preset.
 */
export const MANAGED_BY_RPC = [
  'primary_conninfo',
  'primary_slot_name',
  'synchronous_standby_names',
  'synchronous_commit',
] as const

/** Every owned setting with the value it has on this server. */
export function settingsWeOwn(values: OwnedValues): OwnedSetting[] {
  return [
    { name: 'port', value: String(values.port), reason: 'pooler and followers know it' },
    {
      name: 'unix_socket_directories',
      value: values.socketDir,
      reason: 'the pooler connects there',
    },
    { name: 'listen_addresses', value: values.listen, reason: 'followers connect there' },
    { name: 'cluster_name', value: values.clusterName, reason: 'names the member in ps and logs' },
    ...FIXED,
  ]
}

const NAMES = new Map(
  settingsWeOwn({ clusterName: '', port: 0, socketDir: '', listen: '' }).map((own) => [
    own.name,
    own.reason,
  ]),
)

/** Why `name` may not be set by a user, or undefined where it may. */
export function whyOwned(name: string): string | undefined {
  const key = name.toLowerCase()
  if (NAMES.has(key)) return NAMES.get(key)
  if (MANAGED_BY_RPC.some((managed) => managed === key)) return 'the cluster sets it'
  return undefined
}

/** The postmaster's arguments for them. `hba_file` is relative to the data directory. */
export function ownedArguments(values: OwnedValues, dataDir: string): string[] {
  return settingsWeOwn(values).flatMap(({ name, value }) => {
    const text = name === 'hba_file' ? `${dataDir}/${value}` : value
    return ['-c', `${name}=${text}`]
  })
}

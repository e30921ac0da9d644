// Which rule is about a client: the first one of the file, as in PostgreSQL.

import type { DatabaseWord, HbaRule, Newcomer, UserWord } from './hba-rule.ts'
import { isIn, ownRanges } from './ip-address.ts'

/** Which of the roles that rules name the client's role belongs to; nobody knows before asking. */
export type Memberships = ReadonlySet<string>

/** The first rule about `who`; undefined when there is none, and nobody is let in. */
export function findRule(
  rules: readonly HbaRule[],
  who: Newcomer,
  memberOf: Memberships,
): HbaRule | undefined {
  return rules.find(
    (rule) =>
      fitsType(rule, who) &&
      fitsAddress(rule, who) &&
      rule.databases.some((word) => isDatabase(word, who, memberOf)) &&
      rule.users.some((word) => isUser(word, who, memberOf)),
  )
}

function fitsType({ type }: HbaRule, { unix, tls }: Newcomer): boolean {
  if (type === 'local') return unix
  if (unix || type === 'hostgssenc') return false // GSSAPI encryption is never agreed on
  if (type === 'hostssl') return tls
  return type !== 'hostnossl' || !tls
}

function fitsAddress({ address: set }: HbaRule, who: Newcomer): boolean {
  if (set === 'all') return true
  const { address } = who
  if (address === undefined) return false
  if (typeof set === 'object') return isIn(set, address)
  return ownRanges(set === 'samenet').some((range) => isIn(range, address))
}

/** Physical replication belongs to no database: only its own word means it. */
function isDatabase(word: DatabaseWord, who: Newcomer, memberOf: Memberships): boolean {
  if (who.physical) return word.kind === 'replication'
  switch (word.kind) {
    case 'all':
      return true
    case 'sameuser':
      return who.database === who.user
    case 'samerole':
      return memberOf.has(who.database)
    case 'name':
      return who.database === word.name
    case 'replication':
      return false
  }
}

function isUser(word: UserWord, who: Newcomer, memberOf: Memberships): boolean {
  if (word.kind === 'all') return true
  return word.kind === 'name' ? who.user === word.name : memberOf.has(word.name)
}

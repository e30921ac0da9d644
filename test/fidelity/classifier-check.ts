// Goal: after a text that the gateway calls plain a backend holds nothing that it did not hold
// before.
// Method: statements run one by one on a backend of their own, whose state is read before and after.
import { classify } from '../../gateway/session/classify.ts'
import { ASK_BITS, Trait } from '../../gateway/session/traits.ts'
import { Look } from '../../shared/link/frame.ts'
import { query } from '../../shared/pgwire/frontend.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { Frontend, type Address } from '../support/frontend.ts'
import { exchange, SessionEnded } from './exchange.ts'
import { differences, readState, type SessionState } from './session-state.ts'

/** What came of a corpus. */
export interface Verdicts {
  statements: number
  plain: number
  /** Called something else, and left nothing. */
  harmless: number
  /** Plain, and left something. */
  readonly wrong: string[]
}

const CUSTOM_NAME =
  /\b(?!pg_|public\.|information_schema\.)([a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*)\b/gi
const CUSTOM_NAMES_MAX = 20
/** Waits for data, or, as a superuser, ruins the database. */
const LEFT_OUT =
  /\bcopy\b[^]*\bfrom\s+stdin\b|\b(?:delete\s+from|insert\s+into|update|(?:alter|drop)\s+table)\s+(?:pg_catalog\.(?!pg_settings)|pg_(?!settings|temp))/i
/** A statement that takes longer is of no use here. */
const TIMEOUT = { options: '-c statement_timeout=3s' }

/** Runs `statements` in order, as one session as far as they allow. */
export async function checkClassifier(
  address: Address,
  database: string,
  statements: readonly string[],
): Promise<Verdicts> {
  const verdicts: Verdicts = { statements: 0, plain: 0, harmless: 0, wrong: [] }
  let session = await start(address, database)
  let asked = 0 // by the statements of the transaction under way
  let texts: string[] = []
  for (const text of statements) {
    const verdict = verdictOf(text)
    if ((verdict & Trait.Refused) !== 0 || LEFT_OUT.test(text)) continue
    asked |= verdict
    texts.push(text)
    verdicts.statements += 1
    const status = await session.run(text)
    if (status === undefined) {
      session = await start(address, database)
    } else if (status === TransactionStatus.Idle) {
      const changes = await session.changes(texts)
      if (changes !== undefined) judge(verdicts, { asked, changes, texts })
      if (changes?.length !== 0) {
        session.end()
        session = await start(address, database)
      }
    } else {
      continue
    }
    asked = 0
    texts = []
  }
  session.end()
  return verdicts
}

function judge(
  verdicts: Verdicts,
  {
    asked,
    changes,
    texts,
  }: { asked: number; changes: readonly string[]; texts: readonly string[] },
): void {
  const plain = (asked & ASK_BITS & ~Look.Lone) === 0
  if (plain) verdicts.plain += texts.length
  else if (changes.length === 0) verdicts.harmless += texts.length
  // The gateway knows more of these two: whether anybody reads lastval(), and what is set.
  const known = [
    ...((asked & Trait.Advances) !== 0 ? ['sequences'] : []),
    ...((asked & Trait.Resets) !== 0 ? ['settings'] : []),
  ]
  const left = changes.filter((change) => !known.some((facet) => change.startsWith(facet)))
  if (plain && left.length > 0)
    verdicts.wrong.push(`${texts.join('; ')}\n    ${left.join('\n    ')}`)
}

/** What the gateway says of a text. */
function verdictOf(text: string): number {
  const bytes = Buffer.from(text)
  return classify(bytes, 0, bytes.length, 0)
}

interface Probe {
  /** The status behind it; undefined when the session ended. */
  run(text: string): Promise<TransactionStatus | undefined>
  /** What differs from the last time; undefined when the catalogs cannot be read any more. */
  changes(texts: readonly string[]): Promise<string[] | undefined>
  end(): void
}

async function start(address: Address, database: string): Promise<Probe> {
  const frontend = await Frontend.connect(address, { database, parameters: TIMEOUT })
  let state: SessionState = await readState(frontend, [])
  return {
    async run(text) {
      try {
        const { status } = await exchange(frontend, [query(text)], [])
        return status
      } catch (error) {
        if (!(error instanceof SessionEnded)) console.error(`${text}: ${String(error)}`)
        frontend.destroy()
        return undefined
      }
    },
    async changes(texts) {
      const names = [...texts.join('\n').matchAll(CUSTOM_NAME)].map(([, name = '']) => name)
      const custom = [...new Set(names.map((name) => name.toLowerCase()))]
      const before = new Map([...custom.map((name) => [name, 'never heard of'] as const), ...state])
      try {
        state = await readState(frontend, custom.slice(0, CUSTOM_NAMES_MAX))
      } catch (error) {
        console.error(`after ${texts.join('; ')}: ${String(error).slice(-100)}`)
        return undefined
      }
      return differences(before, state)
    },
    end: () => frontend.destroy(),
  }
}

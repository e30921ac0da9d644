// What a text may leave behind in the session that runs it, told from its tokens alone.
//
// The rule is never to be silently wrong: what is not known to leave nothing pins its backend. A
// statement hidden in a function or a view is not seen here; the names of functions that reach
// session state are.

import { Look, Pin } from '../../shared/link/frame.ts'
import { readMentions, type Mentions } from './mentions.ts'
import { SqlLexer, Token } from './sql-lexer.ts'
import { FIRST_FUNCTION, Word } from './sql-words.ts'
import { IN_DOUBT, Trait } from './traits.ts'
import { COMMAND_TRAITS, FUNCTION_TRAITS } from './word-traits.ts'

/** A text longer than this holds no date that Postgres reads (datetime.h, MAXDATELEN 128). */
const DATE_BYTES_MAX = 128
const CLOCK_WORDS = /now|today|tomorrow|yesterday/i

class Classifier {
  readonly #lexer = new SqlLexer()
  #bytes: Buffer = Buffer.alloc(0)
  #traits = 0
  #statements = 0
  #rollbacks = 0
  #makes = false
  // The statement under way.
  #words = 0
  #first: number = Word.None
  #second: number = Word.None
  #third: number = Word.None
  #previous: number = Word.None
  #depth = 0
  #atomic = 0 // BEGIN ATOMIC, and CASEs in it, whose END is still to come
  #calls = false // has a parenthesis or INTO: not provably a read
  #updates = false // has UPDATE

  run(bytes: Buffer, start: number, end: number, mode: number): number {
    const lexer = this.#lexer
    lexer.reset(bytes, start, end, mode)
    this.#bytes = bytes
    this.#traits = this.#statements = this.#rollbacks = 0
    this.#makes = false
    this.#begin()
    for (;;) {
      const token = lexer.next()
      if (token === Token.Word) this.#onWord(lexer.code)
      else if (token === Token.End) break
      else if (token === Token.Unterminated) return this.#traits | IN_DOUBT
      else this.#onToken(token)
    }
    this.#end()
    // What follows a ROLLBACK in one text runs in a transaction of its own, and commits.
    if (this.#rollbacks > 0 && this.#statements > 1) this.#traits |= Trait.MayCommit
    if (this.#statements === 1 && this.#makes) this.#traits |= Look.Lone
    return this.#traits
  }

  #begin(): void {
    this.#first = this.#second = this.#third = this.#previous = Word.None
    this.#words = this.#depth = this.#atomic = 0
    this.#calls = this.#updates = false
  }

  #onToken(token: number): void {
    switch (token) {
      case Token.Open:
        this.#depth++
        this.#calls = true
        break
      case Token.Close:
        this.#depth--
        break
      case Token.Semicolon:
        if (this.#depth <= 0 && this.#atomic === 0) {
          this.#end()
          this.#begin()
        }
        break
      case Token.String:
        this.#traits |= this.#readsClock() ? Trait.NotShared | Trait.Literal : Trait.Literal
        break
      case Token.Quoted:
        this.#countWord(Word.None)
        if (this.#lexer.code !== Word.None) this.#onFunction(this.#lexer.code)
        break
      default:
    }
    this.#previous = Word.None
  }

  #onWord(code: number): void {
    this.#countWord(code)
    if (code >= FIRST_FUNCTION) this.#onFunction(code)
    else if (code !== Word.None) this.#onKeyword(code)
    this.#previous = code
  }

  #countWord(code: number): void {
    this.#words++
    if (this.#words === 1) {
      this.#first = code
    } else if (this.#words === 2) {
      this.#second = code
    } else if (this.#words === 3) {
      this.#third = code
    }
  }

  #onKeyword(code: number): void {
    switch (code) {
      case Word.Temp:
        // INSERT INTO temp names a table; CREATE TEMP, INTO TEMP and their like make one.
        if (this.#first === Word.Insert && this.#words === 3) break
        if (makesTemp(this.#previous)) this.#traits |= Pin.TempObjects
        break
      case Word.Hold:
        if (this.#previous === Word.With) this.#traits |= Pin.CursorWithHold
        break
      case Word.Execute:
        // EXPLAIN EXECUTE p, CREATE TABLE t AS EXECUTE p; not a trigger's EXECUTE FUNCTION.
        if (this.#first === Word.Explain || this.#previous === Word.As) {
          this.#traits |= COMMAND_TRAITS[Word.Execute] as number
        }
        break
      case Word.Routine:
        if (this.#first === Word.Create) this.#traits |= Trait.Mentions
        break
      case Word.Atomic:
        if (this.#first === Word.Create && this.#previous === Word.Begin) this.#atomic = 1
        break
      case Word.Case:
        if (this.#atomic > 0) this.#atomic++
        break
      case Word.Commit: // END
        if (this.#atomic > 0) this.#atomic--
        break
      case Word.Into:
        this.#calls = true
        break
      case Word.Insert:
        this.#traits |= Trait.Advances
        break
      case Word.Update:
        this.#updates = true
        break
      default:
    }
  }

  #onFunction(code: number): void {
    // Its rule turns an UPDATE into set_config.
    if (code === Word.SettingsView) this.#traits |= this.#updates ? Trait.Mentions : 0
    else this.#traits |= FUNCTION_TRAITS[code] ?? 0
  }

  #readsClock(): boolean {
    const { start, end, escaped } = this.#lexer
    if (end - start > DATE_BYTES_MAX || end - start < 3) return false
    return escaped || CLOCK_WORDS.test(this.#bytes.toString('latin1', start, end))
  }

  #end(): void {
    if (this.#atomic > 0) this.#traits |= IN_DOUBT
    if (this.#words === 0) {
      if (this.#depth !== 0 || this.#calls) this.#traits |= IN_DOUBT
      return
    }
    this.#statements++
    if (!this.#leavesDataAlone() || this.#calls) this.#traits |= Trait.MayWrite
    this.#traits |= this.#ofCommand()
    // The script of an extension runs what it has made.
    this.#makes = isDefinition(this.#first) && this.#second !== Word.Extension
  }

  #leavesDataAlone(): boolean {
    // ROLLBACK PREPARED has a literal.
    if (this.#first === Word.Rollback) return (this.#traits & Trait.Literal) === 0
    return isRead(this.#first)
  }

  /** What the command itself leaves behind, by its first words. */
  #ofCommand(): number {
    switch (this.#first) {
      case Word.Commit:
        return Trait.MayCommit
      case Word.Rollback:
        this.#rollbacks++
        return this.#second === Word.To || this.#third === Word.To ? 0 : Trait.RollsBack
      case Word.Create: // nobody else finds what is temporary
        return this.#second === Word.Temp ? 0 : Trait.ChangesCatalog
      case Word.Discard:
        return this.#ofDiscard()
      case Word.Deallocate:
        return this.#ofDeallocate()
      case Word.Prepare:
        return this.#second === Word.Transaction
          ? Trait.MayCommit
          : Pin.SqlPrepare | Trait.UsesNames
      default:
        return COMMAND_TRAITS[this.#first] ?? IN_DOUBT
    }
  }

  #ofDiscard(): number {
    if (this.#second !== Word.All) return Look.Pins | Look.Discards
    const resets = Look.Pins | Look.Discards | Trait.Resets | Trait.LocalSettings
    return resets | Trait.Forget | Trait.ClearsStatements | Trait.Mentions
  }

  #ofDeallocate(): number {
    const target = this.#second === Word.Prepare ? this.#third : this.#second
    if (target === Word.All) return Look.Pins | Trait.Forget | Trait.ClearsStatements
    return Pin.SqlPrepare | Look.Pins | Trait.UsesNames | Trait.Forget
  }
}

function makesTemp(before: number): boolean {
  return (
    before === Word.Create ||
    before === Word.Replace ||
    before === Word.Local ||
    before === Word.Global ||
    before === Word.Into
  )
}

function isDefinition(first: number): boolean {
  return first === Word.Create || first === Word.Alters || first === Word.Drops
}

function isRead(first: number): boolean {
  return first === Word.Select || first === Word.Show || first === Word.Begin
}

const classifier = new Classifier()
let mentions: Mentions | undefined

/**
 * Classifies `bytes[start, end)`, the text of a Query or Parse without its NUL. `mode` are LexMode
 * bits. The answer is a mask of what a BATCH asks for (lower 19) and Trait bits; 0 for a read that
 * leaves nothing. With Trait.Mentions, `lastMentions` has the rest.
 */
export function classify(bytes: Buffer, start: number, end: number, mode: number): number {
  const traits = classifier.run(bytes, start, end, mode)
  if ((traits & Trait.Mentions) === 0) return traits
  mentions = readMentions(bytes, start, end, mode)
  return traits | mentions.traits
}

/** What the text classified last says of settings; undefined when `traits` says that it is none. */
export function lastMentions(traits: number): Mentions | undefined {
  return (traits & Trait.Mentions) === 0 ? undefined : mentions
}

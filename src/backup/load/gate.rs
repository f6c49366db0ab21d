//! What stands between a dump of MySQL or MariaDB and a server: a dump is statements, and whoever could write it decides what
//! they are. Only those pass that a dump of one database has, and none that names another database: restored "beside" the
//! real one, a dump that begins with `USE shop` overwrites the real one. `DEFINER` clauses, which only an administrator may
//! write, are left out, and so is `ALTER DATABASE`, by which a dump says the character set of where it came from.
//!
//! The bytes that pass are those that came, in their order. What is kept in memory is a piece of the stream, and the first
//! words of a statement.

mod set;
mod statement;
mod words;

use std::collections::BTreeSet;
use std::io::{self, Write};

use self::statement::{Decision, Statement};
use self::words::{Lexer, Word};
use crate::backup::load::{Spoilt, says};

/// The first words of a statement are so long at most.
const HEAD: usize = 256 * 1024;

/// Whether events that a dump makes happen where it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Events {
    /// As they did where they were saved.
    AsSaved,
    /// None of them: what is only tried deletes no rows, and tells nobody.
    Disabled,
}

/// What went by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    pub views: BTreeSet<String>,
    pub triggers: BTreeSet<String>,
    /// Procedures and functions.
    pub routines: BTreeSet<String>,
    pub events: BTreeSet<String>,
    pub sequences: BTreeSet<String>,
    /// How many `DEFINER` clauses were left out.
    pub definers: u64,
}

/// The gate. Everything that is written to it is looked at, and passed on to `to`.
pub struct Gate<W> {
    to: W,
    lexer: Lexer,
    statement: Statement,
    /// What has come and was not passed on yet.
    held: Vec<u8>,
    /// Parts of it that are left out, in their order, and what stands there.
    cuts: Vec<(usize, usize, &'static str)>,
    seen: Seen,
    events: Events,
}

impl<W: Write> Gate<W> {
    /// In front of `to`.
    pub fn new(to: W, events: Events) -> Gate<W> {
        Gate {
            to,
            lexer: Lexer::default(),
            statement: Statement::new(events),
            held: Vec::new(),
            cuts: Vec::new(),
            seen: Seen::default(),
            events,
        }
    }

    /// The end of the dump. Gives what it stands in front of, and what went by.
    ///
    /// # Errors
    /// It ends in the middle of a statement; whoever takes it cannot.
    pub fn end(mut self) -> io::Result<(W, Seen)> {
        let at = self.held.len();
        for word in self.lexer.end(at).into_iter().flatten() {
            self.word(word)?;
        }
        if !self.statement.is_empty() {
            return Err(says(Spoilt::fail("the dump ends in the middle of a statement: it was cut off")));
        }
        self.pass(self.held.len())?;
        Ok((self.to, self.seen))
    }

    fn word(&mut self, word: Word) -> io::Result<()> {
        // What a delimiter ends begins anew with whatever comes next.
        if let Word::End { at } = word {
            match self.statement.end(at) {
                Ok(cut) => self.cuts.extend(cut.map(|(from, to)| (from, to, ""))),
                Err(decision) => self.decide(decision)?,
            }
            self.note();
            self.statement = Statement::new(self.events);
            return Ok(());
        }
        let decision = self.statement.word(&word);
        self.decide(decision)
    }

    fn decide(&mut self, decision: Decision) -> io::Result<()> {
        match decision {
            Decision::More => {}
            Decision::Cut(from, to) => {
                self.seen.definers += 1;
                self.cuts.push((from, to, ""));
            }
            Decision::Swap(from, to, with) => self.cuts.push((from, to, with)),
            Decision::Rows => self.lexer.skip_words(),
            Decision::Refuse(why) => return Err(says(Spoilt::fail(why))),
            Decision::Unclear(what) => {
                let why = format!(
                    "the dump has {what}, which not everybody reads in the same way, so that nobody can say what it would \
                     do; it is not run"
                );
                return Err(says(Spoilt::open(why)));
            }
        }
        Ok(())
    }

    /// What a statement made.
    fn note(&mut self) {
        let Some((kind, name)) = self.statement.made() else { return };
        let names = match kind.as_str() {
            "VIEW" => &mut self.seen.views,
            "TRIGGER" => &mut self.seen.triggers,
            "PROCEDURE" | "FUNCTION" => &mut self.seen.routines,
            "EVENT" => &mut self.seen.events,
            "SEQUENCE" => &mut self.seen.sequences,
            _ => return,
        };
        names.insert(name.clone());
    }

    /// Passes on what came before this place, without what is left out.
    fn pass(&mut self, end: usize) -> io::Result<()> {
        let mut at = 0;
        let (done, rest): (Vec<_>, Vec<_>) = self.cuts.drain(..).partition(|(_, to, _)| *to <= end);
        for (from, to, with) in done {
            self.to.write_all(&self.held[at..from])?;
            self.to.write_all(with.as_bytes())?;
            at = to;
        }
        self.to.write_all(&self.held[at..end])?;
        self.held.drain(..end);
        self.cuts = rest.into_iter().map(|(from, to, with)| (from - end, to - end, with)).collect();
        self.lexer.back(end);
        self.statement.back(end);
        Ok(())
    }
}

impl<W: Write> Write for Gate<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut at = self.held.len();
        self.held.extend_from_slice(bytes);
        while at < self.held.len() {
            let (next, words) = self.lexer.step(&self.held, at);
            at = next;
            for word in words.into_iter().flatten() {
                self.word(word)?;
            }
        }
        // Only what is still to be decided waits.
        let until = self.statement.holds().into_iter().chain(self.lexer.begun()).min().unwrap_or(self.held.len());
        if self.held.len() - until > HEAD {
            return Err(says(Spoilt::fail("the dump has a statement whose first words do not end: it is none")));
        }
        self.pass(until)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::load::taken_by;

    fn through(dump: &str, size: usize, events: Events) -> Result<(String, Seen), Spoilt> {
        let mut gate = Gate::new(Vec::new(), events);
        let wrote = dump.as_bytes().chunks(size).try_for_each(|piece| gate.write_all(piece));
        let (out, seen) = wrote.and_then(|()| gate.end()).map_err(|error| taken_by(&error))?;
        Ok((String::from_utf8(out).unwrap(), seen))
    }

    /// Cut at every size of a piece: the answer is the same.
    fn in_pieces(dump: &str, events: Events) -> Result<(String, Seen), Spoilt> {
        let whole = through(dump, dump.len().max(1), events);
        for size in 1..=dump.len().min(40) {
            assert_eq!(through(dump, size, events), whole, "in pieces of {size}");
        }
        whole
    }

    fn gate(dump: &str) -> Result<(String, Seen), String> {
        in_pieces(dump, Events::AsSaved).map_err(|spoilt| spoilt.why)
    }

    const DUMP: &str = "-- MariaDB dump 10.19  Distrib 10.11.6-MariaDB\n/*M!999999\\- enable the sandbox mode */ \n\
        /*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;\n/*!40103 SET TIME_ZONE='+00:00' */;\n\
        DROP TABLE IF EXISTS `t`;\nCREATE TABLE `t` (\n  `x` decimal(5,2) DEFAULT 1.50 COMMENT 'USE shop; a.b',\n  KEY `k` (`x`)\n\
        ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;\nLOCK TABLES `t` WRITE;\n/*!40000 ALTER TABLE `t` DISABLE KEYS */;\n\
        INSERT INTO `t` VALUES\n(1.5),('; USE shop; it''s \\'DEFINER=`a`@`b`'),(0xAB);\nINSERT INTO `t` (`x`, `y`) VALUES (1,2);\n\
        UNLOCK TABLES;\nDO SETVAL(`s`, 5, 0);\n-- it's a remark; USE shop\n";

    #[test]
    fn a_dump_passes_as_it_came() {
        let (out, seen) = gate(DUMP).unwrap();
        assert_eq!((out.as_str(), seen), (DUMP, Seen::default()));
    }

    #[test]
    fn definers_are_left_out_and_what_is_made_is_noted() {
        let dump = "/*!50001 CREATE ALGORITHM=UNDEFINED */\n/*!50013 DEFINER=`root`@`localhost` SQL SECURITY DEFINER */\n\
            /*!50001 VIEW `v` AS select `t`.`x` AS `x` from `t` */;\nDELIMITER ;;\n/*!50003 CREATE*/ /*!50017 DEFINER=`ro ot`@`%`*/ \
            /*!50003 TRIGGER `g` AFTER INSERT ON `t` FOR EACH ROW BEGIN\nSET @x = 'DEFINER=`a`@`b`'; INSERT INTO `u` VALUES (1);\nEND */;;\n\
            CREATE DEFINER=app@localhost PROCEDURE `p`() SELECT 1 ;;\nDELIMITER ;\n";
        let (out, seen) = gate(dump).unwrap();
        let wanted = dump
            .replace("/*!50013 DEFINER=`root`@`localhost` SQL", "/*!50013  SQL")
            .replace("/*!50017 DEFINER=`ro ot`@`%`*/", "/*!50017 */")
            .replace("CREATE DEFINER=app@localhost PROC", "CREATE  PROC");
        assert_eq!(out, wanted);
        let names = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(",");
        assert_eq!((seen.definers, names(&seen.views), names(&seen.triggers)), (3, "v".into(), "g".into()));
        assert_eq!(names(&seen.routines), "p");
    }

    #[test]
    fn a_dump_that_names_a_database_is_refused_before_it_is_loaded() {
        for (dump, told) in [
            ("USE `shop`;\n", "USE"),
            ("use shop;\n", "USE"),
            ("CREATE DATABASE /*!32312 IF NOT EXISTS*/ `shop`;\n", "CREATE DATABASE"),
            ("/*!40000 DROP DATABASE IF EXISTS `shop`*/;\n", "DROP DATABASE"),
            ("DROP TABLE IF EXISTS `shop`.`t`;\n", "`shop`"),
            ("CREATE TABLE shop.t (x int);\n", "`shop`"),
            ("CREATE TABLE t (x int, FOREIGN KEY (x) REFERENCES `shop` . `u` (x));\n", "`shop`"),
            ("INSERT INTO `shop`.`t` VALUES (1);\n", "`shop`"),
            ("/*!50001 CREATE VIEW `shop`.`v` AS SELECT 1 */;\n", "`shop`"),
            ("GRANT ALL ON *.* TO x;\n", "GRANT"),
            ("SET GLOBAL general_log = 1;\n", "SET GLOBAL"),
            ("SET @@global.general_log = 1;\n", "SET GLOBAL"),
            ("LOAD DATA INFILE '/etc/passwd' INTO TABLE t;\n", "LOAD"),
            ("INSERT INTO t SELECT * FROM mysql.user;\n", "INSERT"),
            ("\\! touch /tmp/x\n;", "\\"),
            ("DELETE FROM users;\n", "DELETE"),
            ("SELECT load_file('/etc/passwd');\n", "SELECT"),
            ("DO SETVAL(`shop`.`s`, 5, 0);\n", "`shop`"),
            ("INSERT INTO `t` VALUES (1)", "cut off"),
        ] {
            let error = gate(dump).unwrap_err();
            assert!(error.contains(told), "{dump}: {error}");
        }
    }

    /// A dump in which something is read otherwise by whoever runs it says nothing about the backup, and is not run.
    #[test]
    fn what_is_not_read_in_the_same_way_by_everybody_is_not_run() {
        for dump in [
            // By the mode, or the character set, in which a quote or a backslash is another one.
            "SET SQL_MODE='ANSI_QUOTES';\nCREATE TABLE \"a\\\"; USE shop; -- \" (x int);\n",
            "/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES' */;\n",
            "SET @x = 'ANSI';\n",
            "SET NAMES gbk;\n",
            "SET character_set_client = 'sjis';\n",
            // What is a remark here, and none there.
            "INSERT INTO t VALUES (1) --\u{1} ;\nUSE shop;\n",
            "/*!99999 ' */ ; USE shop; /*!99999 ' */;\n",
            "/*!99999 INSERT INTO t VALUES (1) */ USE shop;\n",
            "INSERT INTO t /*!99999 VALUES ( */ SELECT * FROM shop.t;\n",
            "CREATE TABLE shop /*!99999 , */ .t (x int);\n",
            "CREATE TABLE t (x int /*!80023 # */ );\n",
            "/*!50003 SET x = 1 /*!99999 y */ */;\n",
            "/*!123 SET x = 1 */;\n",
            // Commands of the client.
            "INSERT INTO t VALUES (1) delimiter x\nUSE shopx",
            "CREATE TABLE t (delimiter int);\n",
            "DELIMITER $$\nSET x = 1 $$\n",
            "INSERT INTO t VALUES (@saved_sql_mode:=4);\n",
        ] {
            let spoilt = in_pieces(dump, Events::AsSaved).unwrap_err();
            assert_eq!(spoilt.outcome, crate::model::backup::proof::Outcome::Inconclusive, "{dump}: {}", spoilt.why);
        }
        // These are none that a dumper writes, or name a database all the same.
        for (dump, told) in [
            ("DROP TABLE \"shop\".\"t\";\n", "`shop`"),
            ("CREATE VIEW \"shop\".\"v\" AS SELECT 1;\n", "`shop`"),
            ("INSERT INTO t VALUES (1--1); USE shop;\n", "USE"),
            ("/* x */* ; USE shop; /* */\n", "USE"),
            ("/*!40000\\- ; USE shop; */\n", "\\"),
            ("INSERT INTO t VALUES (1) \\C gbk ;\n", "\\"),
            ("SET sql_mode=4;\n", "SET"),
            ("SET sql_mode=CONCAT('AN','SI');\n", "SET"),
            ("SET sql_mode='AN' 'SI';\n", "SET"),
            ("SET sql_mode=@x;\n", "SET"),
            ("SET @saved_sql_mode=@@auto_increment_increment;\n", "SET"),
            ("SET sql_mode=x'414e5349';\n", "SET"),
            ("SET character_set_client = 28;\n", "SET"),
            ("SET STATEMENT max_statement_time=1 FOR DROP TABLE shop.t;\n", "SET STATEMENT"),
            ("DO SETVAL(s, @saved_sql_mode:=4, 0);\n", "variable"),
        ] {
            let error = gate(dump).unwrap_err();
            assert!(error.contains(told), "{dump}: {error}");
        }
    }

    #[test]
    fn what_dumpers_of_newer_servers_write_passes() {
        let dump = "/*M!100616 SET @OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY, NOTE_VERBOSITY=0 */;\n\
            /*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;\n/*!50503 SET NAMES utf8mb4 */;\n\
            SET @saved_cs_client = @@character_set_client;\nSET character_set_client = utf8mb3;\n\
            /*!80000 SET SESSION information_schema_stats_expiry=0 */;\nSET @@SESSION.SQL_LOG_BIN= 0;\n\
            CREATE TABLE `t` (`x` int /*!80023 INVISIBLE */, `y` int DEFAULT (3 - -1)) /*!50100 PARTITION BY KEY (`x`) */;\n\
            SET character_set_client = @saved_cs_client;\n/*!50003 SET sql_mode = 'STRICT_TRANS_TABLES,NO_ZERO_DATE' */ ;\n\
            /*!50003 SET sql_mode = @saved_sql_mode */ ;\n/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;\n\
            INSERT INTO `t` VALUES (1e-5,-2,x'00',_binary 'a'),(3 --\n,4);\n\
            CREATE SEQUENCE `s` start with 1;\nDO SETVAL(`s`, 5, 0);\n--\n";
        let (out, seen) = gate(dump).unwrap();
        assert_eq!((out.as_str(), seen.sequences.len()), (dump, 1));
    }

    #[test]
    fn events_of_what_is_only_tried_do_not_happen() {
        let event = "/*!50106 CREATE*/ /*!50106 EVENT `e` ON SCHEDULE EVERY 1 DAY ON COMPLETION NOT PRESERVE ENABLE \
            DO DELETE FROM `t` WHERE x = 'ENABLE' */ ;\n";
        let bare = "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1;\n";
        let off = "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DISABLE COMMENT 'x' DO SELECT 1;\n";
        let of = |dump: &str, events| in_pieces(dump, events).unwrap().0;
        for dump in [event, bare, off] {
            assert_eq!(of(dump, Events::AsSaved), dump);
        }
        assert_eq!(of(event, Events::Disabled), event.replace("PRESERVE ENABLE DO", "PRESERVE DISABLE DO"));
        assert_eq!(of(bare, Events::Disabled), bare.replace("DO SELECT", "DISABLE DO SELECT"));
        assert_eq!(of(off, Events::Disabled), off);
        // A procedure has no such clause.
        let other = "CREATE PROCEDURE p() COMMENT 'x' DO 1;\n";
        assert_eq!(of(other, Events::Disabled), other);
    }

    #[test]
    fn the_character_set_of_the_source_is_left_behind() {
        let dump = "SET x = 1;\nALTER DATABASE `shop` CHARACTER SET latin1 COLLATE latin1_swedish_ci ;\nSET y = 2;\n";
        assert_eq!(gate(dump).unwrap().0, "SET x = 1;\n;\nSET y = 2;\n");
    }
}

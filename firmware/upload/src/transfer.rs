//! What to do next in one delivery, given what the server answered. No I/O and no clock.
//!
//! ```text
//! Create --201--> Ask --200, offset < size--> Send --204--> Send ... --offset = size--> FetchReceipt --200--> Complete
//!                  ^------ 409 on a chunk -----'                              (skipped where no receipts are given)
//! ```
//!
//! Invariants
//! 1. A chunk is sent only at an offset that the server itself has named, so a cut at any byte costs at most one chunk.
//! 2. Each loop of the machine either raises the offset or counts towards [`MAX_CONFLICTS`].
//! 3. No answer, however odd, does more than end the delivery with a [`Refusal`].

use crate::fault::{Advice, Scope};
use crate::tus::CHECKSUM_MISMATCH;
use std::fmt;

/// Chunks refused for a wrong offset, or answered without progress, before the server is given a pause.
const MAX_CONFLICTS: u32 = 3;

/// How the server confirms a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledgement {
    /// By a signed receipt.
    Receipt,
    /// By holding every byte: a plain tus server.
    CompleteUpload,
}

/// The next request, or the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Create,
    Ask {
        location: String,
    },
    Send {
        location: String,
        from: u64,
        to: u64,
    },
    FetchReceipt {
        location: String,
    },
    Complete,
}

/// What of an answer matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub location: Option<String>,
    pub offset: Option<u64>,
    pub length: Option<u64>,
}

/// Why the server's answer ends this attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another bundle of the same name is there: two boxes of one name, or a box that lost its state.
    NameTaken,
    /// The server does not take this bundle from this box.
    Forbidden,
    TooLarge,
    /// The server's disk or this box's share of it is full.
    NoSpace,
    /// The server speaks another version of tus, or none at this address.
    NotTus {
        status: u16,
    },
    /// The server no longer knows the upload.
    Gone,
    /// What arrived is not what was sent.
    Corrupted,
    /// The server is overloaded or out of order.
    Unavailable {
        status: u16,
    },
    /// The server has no receipt although it has every byte.
    NoReceipt {
        status: u16,
    },
    /// Offsets do not fit together.
    Confused,
    Unexpected {
        during: &'static str,
        status: u16,
    },
    /// A header that the protocol demands is missing or unreadable.
    Incomplete {
        during: &'static str,
        header: &'static str,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameTaken => write!(
                f,
                "the server has another bundle of this name; find out which box made it"
            ),
            Self::Forbidden => write!(f, "the server does not accept this bundle from this box"),
            Self::TooLarge => write!(f, "the bundle is larger than the server accepts"),
            Self::NoSpace => write!(f, "the server has no space left for this box"),
            Self::NotTus { status } => write!(
                f,
                "the server does not speak tus 1.0 at this path (status {status})"
            ),
            Self::Gone => write!(f, "the server has forgotten the upload"),
            Self::Corrupted => write!(f, "the server received other bytes than were sent"),
            Self::Unavailable { status } => {
                write!(f, "the server is out of order (status {status})")
            }
            Self::NoReceipt { status } => {
                write!(f, "the server gives no receipt (status {status})")
            }
            Self::Confused => write!(f, "the server's offsets do not fit together"),
            Self::Unexpected { during, status } => {
                write!(f, "the server answers status {status} to {during}")
            }
            Self::Incomplete { during, header } => {
                write!(f, "the answer to {during} lacks a usable {header}")
            }
        }
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    pub fn advice(&self) -> Advice {
        match self {
            Self::NameTaken | Self::Forbidden | Self::TooLarge | Self::NotTus { .. } => {
                Advice::Stop
            }
            Self::Unexpected { .. } | Self::Incomplete { .. } | Self::NoSpace => Advice::Stop,
            Self::Gone | Self::Corrupted => Advice::Discard,
            Self::Unavailable { .. } | Self::NoReceipt { .. } | Self::Confused => Advice::Retry,
        }
    }

    pub fn scope(&self) -> Scope {
        match self {
            Self::NotTus { .. } | Self::Unavailable { .. } | Self::NoSpace => Scope::Server,
            _ => Scope::Bundle,
        }
    }
}

/// One delivery in progress.
#[derive(Debug)]
pub struct Transfer {
    size: u64,
    chunk: u64,
    acknowledgement: Acknowledgement,
    next: Step,
    conflicts: u32,
}

impl Transfer {
    /// `location` is that of an earlier attempt, where known.
    pub fn new(
        size: u64,
        chunk: u64,
        acknowledgement: Acknowledgement,
        location: Option<String>,
    ) -> Self {
        let next = location.map_or(Step::Create, |location| Step::Ask { location });
        Self {
            size,
            chunk: chunk.max(1),
            acknowledgement,
            next,
            conflicts: 0,
        }
    }

    pub fn next(&self) -> &Step {
        &self.next
    }

    /// Takes the answer to the request that [`next`](Self::next) named.
    pub fn answered(&mut self, answer: &Answer) -> Result<(), Refusal> {
        self.next = match self.next.clone() {
            Step::Create => self.created(answer)?,
            Step::Ask { location } => self.told_offset(location, answer)?,
            Step::Send { location, from, to } => self.sent(location, from, to, answer)?,
            Step::FetchReceipt { .. } => match answer.status {
                200 => Step::Complete,
                404 | 410 => {
                    return Err(Refusal::NoReceipt {
                        status: answer.status,
                    });
                }
                status => return Err(general("the request for the receipt", status)),
            },
            Step::Complete => Step::Complete,
        };
        Ok(())
    }

    fn created(&self, answer: &Answer) -> Result<Step, Refusal> {
        const DURING: &str = "the announcement of the bundle";
        match answer.status {
            201 => match answer.location.clone() {
                Some(location) => Ok(Step::Ask { location }),
                None => Err(Refusal::Incomplete {
                    during: DURING,
                    header: "Location",
                }),
            },
            409 => Err(Refusal::NameTaken),
            status @ (404 | 405 | 410) => Err(Refusal::NotTus { status }),
            status => Err(general(DURING, status)),
        }
    }

    fn told_offset(&self, location: String, answer: &Answer) -> Result<Step, Refusal> {
        const DURING: &str = "the question for the offset";
        if !matches!(answer.status, 200 | 204) {
            return Err(general(DURING, answer.status));
        }
        let offset = answer.offset.ok_or(Refusal::Incomplete {
            during: DURING,
            header: "Upload-Offset",
        })?;
        if answer.length.is_some_and(|length| length != self.size) {
            return Err(Refusal::Gone);
        }
        self.at(location, offset)
    }

    fn sent(
        &mut self,
        location: String,
        from: u64,
        to: u64,
        answer: &Answer,
    ) -> Result<Step, Refusal> {
        const DURING: &str = "a chunk";
        if answer.status == 409 {
            return self.conflict(location);
        }
        if !matches!(answer.status, 200 | 204) {
            return Err(general(DURING, answer.status));
        }
        let offset = answer.offset.ok_or(Refusal::Incomplete {
            during: DURING,
            header: "Upload-Offset",
        })?;
        if offset <= from || offset > to {
            return self.conflict(location);
        }
        self.conflicts = 0;
        self.at(location, offset)
    }

    fn conflict(&mut self, location: String) -> Result<Step, Refusal> {
        self.conflicts += 1;
        if self.conflicts >= MAX_CONFLICTS {
            Err(Refusal::Confused)
        } else {
            Ok(Step::Ask { location })
        }
    }

    fn at(&self, location: String, offset: u64) -> Result<Step, Refusal> {
        if offset > self.size {
            return Err(Refusal::Gone);
        }
        if offset < self.size {
            let to = self.size.min(offset.saturating_add(self.chunk));
            return Ok(Step::Send {
                location,
                from: offset,
                to,
            });
        }
        Ok(match self.acknowledgement {
            Acknowledgement::Receipt => Step::FetchReceipt { location },
            Acknowledgement::CompleteUpload => Step::Complete,
        })
    }
}

/// What a status means whatever was asked.
fn general(during: &'static str, status: u16) -> Refusal {
    match status {
        401 | 403 => Refusal::Forbidden,
        404 | 410 => Refusal::Gone,
        412 => Refusal::NotTus { status },
        413 => Refusal::TooLarge,
        507 => Refusal::NoSpace,
        CHECKSUM_MISMATCH => Refusal::Corrupted,
        408 | 423 | 425 | 429 | 500..=599 => Refusal::Unavailable { status },
        _ => Refusal::Unexpected { during, status },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, offset: Option<u64>) -> Answer {
        Answer {
            status,
            offset,
            ..Answer::default()
        }
    }

    fn send(from: u64, to: u64) -> Step {
        Step::Send {
            location: "/u".into(),
            from,
            to,
        }
    }

    fn asking(acknowledgement: Acknowledgement) -> Transfer {
        Transfer::new(10, 4, acknowledgement, Some("/u".into()))
    }

    #[test]
    fn a_new_bundle_is_created_asked_for_sent_in_chunks_and_receipted() {
        let mut transfer = Transfer::new(10, 4, Acknowledgement::Receipt, None);
        assert_eq!(*transfer.next(), Step::Create);
        transfer
            .answered(&Answer {
                status: 201,
                location: Some("/u".into()),
                ..Answer::default()
            })
            .unwrap();
        assert_eq!(
            *transfer.next(),
            Step::Ask {
                location: "/u".into()
            }
        );
        transfer.answered(&answer(200, Some(0))).unwrap();
        for (from, to) in [(0, 4), (4, 8), (8, 10)] {
            assert_eq!(*transfer.next(), send(from, to));
            transfer.answered(&answer(204, Some(to))).unwrap();
        }
        assert_eq!(
            *transfer.next(),
            Step::FetchReceipt {
                location: "/u".into()
            }
        );
        transfer.answered(&answer(200, None)).unwrap();
        assert_eq!(*transfer.next(), Step::Complete);
    }

    #[test]
    fn a_resumed_upload_goes_on_at_the_byte_that_the_server_names() {
        let mut transfer = asking(Acknowledgement::Receipt);
        transfer.answered(&answer(200, Some(7))).unwrap();
        assert_eq!(*transfer.next(), send(7, 10));
    }

    #[test]
    fn a_plain_server_that_has_every_byte_has_acknowledged() {
        let mut transfer = asking(Acknowledgement::CompleteUpload);
        transfer.answered(&answer(200, Some(10))).unwrap();
        assert_eq!(*transfer.next(), Step::Complete);
    }

    #[test]
    fn a_conflict_asks_for_the_offset_again_but_not_for_ever() {
        let mut transfer = asking(Acknowledgement::Receipt);
        for _ in 1..MAX_CONFLICTS {
            transfer.answered(&answer(200, Some(0))).unwrap();
            transfer.answered(&answer(409, None)).unwrap();
            assert_eq!(
                *transfer.next(),
                Step::Ask {
                    location: "/u".into()
                }
            );
        }
        transfer.answered(&answer(200, Some(0))).unwrap();
        assert_eq!(
            transfer.answered(&answer(204, Some(0))),
            Err(Refusal::Confused)
        );
    }

    #[test]
    fn an_upload_of_another_length_or_beyond_its_end_is_started_over() {
        let mut transfer = asking(Acknowledgement::Receipt);
        assert_eq!(
            transfer.answered(&answer(200, Some(11))),
            Err(Refusal::Gone)
        );
        let other = Answer {
            status: 200,
            offset: Some(3),
            length: Some(99),
            ..Answer::default()
        };
        assert_eq!(transfer.answered(&other), Err(Refusal::Gone));
        assert_eq!(Refusal::Gone.advice(), Advice::Discard);
    }

    #[test]
    fn every_status_to_every_question_ends_or_goes_on_without_a_panic() {
        for status in 100..=599 {
            for offset in [None, Some(0), Some(4), Some(10), Some(u64::MAX)] {
                for mut transfer in [Transfer::new(10, 4, Acknowledgement::Receipt, None), {
                    let mut transfer = asking(Acknowledgement::Receipt);
                    transfer.answered(&answer(200, Some(0))).unwrap();
                    transfer
                }] {
                    let _ = transfer.answered(&answer(status, offset));
                }
            }
        }
    }

    #[test]
    fn a_taken_name_stops_and_an_overloaded_server_is_tried_again() {
        let mut transfer = Transfer::new(10, 4, Acknowledgement::Receipt, None);
        assert_eq!(
            transfer.answered(&answer(409, None)),
            Err(Refusal::NameTaken)
        );
        assert_eq!(
            transfer.answered(&answer(503, None)),
            Err(Refusal::Unavailable { status: 503 })
        );
        assert_eq!(Refusal::NameTaken.advice(), Advice::Stop);
        assert_eq!(Refusal::Unavailable { status: 503 }.advice(), Advice::Retry);
    }
}

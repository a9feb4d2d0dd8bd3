//! Objects that are wrong by themselves, and documents that are no objects.

use crate::{Analyzer, Index, Report};

pub struct Schema;

impl Analyzer for Schema {
    fn name(&self) -> &'static str {
        "schema.ValidationAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Validates every object and document by itself"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        for problem in &index.problems {
            let finding = problem.finding.clone();
            match problem.resource {
                Some(position) => report.add(
                    problem.code,
                    &index.resources[position],
                    finding.path,
                    finding.message,
                    finding.remedy,
                ),
                None => report.of_document(
                    problem.code,
                    problem.place.clone(),
                    finding.path,
                    finding.message,
                    finding.remedy,
                ),
            }
        }
    }
}

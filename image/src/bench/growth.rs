//! `growth`: time and memory of a walk without changes by the size of the store, as a table and a plot.

use std::error::Error;
use std::fmt::Write;
use std::fs;

use super::finding::{Ground, size, walls};
use super::{Better, Comparison, Figure, Side};
use crate::cache::Cache;
use crate::{image, step};

const LARGEST: u64 = 2_000_000;
/// Parts of the largest store, in twentieths: 0.2, 0.5, 1 and 2 million files.
const TWENTIETHS: [u64; 4] = [2, 5, 10, 20];
const RUNS: usize = 3;
const PLOT: &str = "image/growth.svg";

struct Point {
    files: u64,
    seconds: f64,
    resident_mib: f64,
}

pub fn measure(cache: &Cache) -> Result<Comparison, Box<dyn Error>> {
    let largest = size(LARGEST)?;
    let (mut figures, mut points) = (Vec::new(), Vec::new());
    for twentieths in TWENTIETHS {
        let files = largest * twentieths / 20;
        let ground = Ground::new(cache, "growth")?;
        let (store, state) = if files == largest {
            let [store, state] = ground.collected(files)?;
            (store, state)
        } else {
            let (store, state) = (ground.store(files)?, ground.join("state"));
            ground.collect(&store, &state)?;
            (store, state)
        };
        ground.scan(&store, &state, &[])?;
        let mut taken = Vec::new();
        for _ in 0..RUNS {
            taken.push(ground.scan(&store, &state, &[])?.0);
        }
        let side = Side {
            unit: "s",
            samples: walls(&taken),
            command: format!("walk over {files} files"),
        };
        let resident_mib = taken
            .iter()
            .map(|taken| taken.resident_mib)
            .fold(0.0, f64::max);
        points.push(Point {
            files,
            seconds: side.median(),
            resident_mib,
        });
        figures.push(Figure {
            name: ["smallest", "small", "half", "largest"][points.len() - 1],
            aim: None,
            better: Better::Smaller,
            ours: side,
            peer: None,
            notes: vec![format!("{files} files, {resident_mib:.0} MiB resident")],
        });
    }
    let path = if largest == LARGEST {
        image::workspace().join(PLOT)
    } else {
        image::target().join("bench/growth.svg")
    };
    fs::write(&path, plot(&points))?;
    step::say("bench", &path.display().to_string());
    Ok(Comparison {
        name: "growth",
        limit: "a walk in which nothing changed: time follows the number of folders, memory stays"
            .to_owned(),
        figures,
    })
}

/// Two curves over the number of files, each with its own scale from zero.
fn plot(points: &[Point]) -> String {
    let most = |number: fn(&Point) -> f64| points.iter().map(number).fold(1e-9, f64::max);
    let (files, seconds, memory) = (
        most(|point| point.files as f64),
        most(|point| point.seconds),
        most(|point| point.resident_mib),
    );
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"640\" height=\"360\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"640\" height=\"360\" fill=\"white\"/>\n\
         <text x=\"60\" y=\"24\">Walk without changes: time (blue) and resident memory (red) by number of files</text>\n\
         <path d=\"M60 40V300H600\" fill=\"none\" stroke=\"black\"/>\n",
    );
    let x = |point: &Point| 60.0 + 520.0 * point.files as f64 / files;
    type Number = fn(&Point) -> f64;
    let curves: [(&str, Number, f64, usize, &str); 2] = [
        ("#1f4e9c", |point| point.seconds, seconds, 2, "s"),
        (
            "#b02a2a",
            |point| point.resident_mib,
            memory * 2.0,
            0,
            "MiB",
        ),
    ];
    for (colour, number, top, decimals, unit) in curves {
        let y = |point: &Point| 300.0 - 240.0 * number(point) / top;
        let line: Vec<String> = points
            .iter()
            .map(|point| format!("{:.1},{:.1}", x(point), y(point)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            line.join(" ")
        );
        for point in points {
            let _ = writeln!(
                svg,
                "<circle cx=\"{0:.1}\" cy=\"{1:.1}\" r=\"3\" fill=\"{colour}\"/><text x=\"{0:.1}\" y=\"{2:.1}\" fill=\"{colour}\" text-anchor=\"middle\">{3:.decimals$} {unit}</text>",
                x(point),
                y(point),
                y(point) - 8.0,
                number(point)
            );
        }
    }
    for point in points {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"318\" text-anchor=\"middle\">{}</text>",
            x(point),
            point.files
        );
    }
    svg + "</svg>\n"
}

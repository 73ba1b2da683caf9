//! The README's boot tour against the source: every row names a function that its file defines.

use boot_image::Workspace;

/// Rows of the boot tour: (function, file).
fn tour(readme: &str) -> Vec<(String, String)> {
    let section = readme
        .split("\n## ")
        .find(|section| section.starts_with("The boot tour"))
        .expect("the README has a boot tour");
    let rows = section.lines().filter(|line| line.starts_with("| "));
    rows.skip(1).filter_map(row).collect()
}

fn row(line: &str) -> Option<(String, String)> {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let code = |cell: &str| Some(cell.strip_prefix('`')?.strip_suffix('`')?.to_owned());
    Some((code(cells.get(1)?)?, code(cells.get(2)?)?))
}

#[test]
fn every_row_of_the_boot_tour_names_a_function_in_its_file() {
    let root = Workspace::find().root().to_owned();
    let readme = std::fs::read_to_string(root.join("README.md")).expect("there is a README");
    let rows = tour(&readme);
    assert!(rows.len() >= 30, "only {} rows were found", rows.len());
    for (function, file) in rows {
        let source = std::fs::read_to_string(root.join(&file))
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        let defined = source.contains(&format!("fn {function}("));
        assert!(defined, "{file} does not define {function}");
    }
}
